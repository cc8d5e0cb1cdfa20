from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from batchot.errors import RunError
from batchot.files import write_csv
from batchot.reporting.material import ReportMaterial
from batchot.reporting.run import read_history


def test_rows_come_back_as_they_were(make_material: Callable[..., ReportMaterial], tmp_path: Path) -> None:
    first = make_material([0, 0]).rows[0]
    rows = (first, dataclasses.replace(first, epoch=2, map=None, accuracy=None, accuracy_by=None))
    write_csv(tmp_path / "history.csv", [dataclasses.asdict(row) for row in rows])
    assert read_history(tmp_path / "history.csv") == rows


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "history.csv") == ()


def test_a_changed_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2,oops\n")
    with pytest.raises(RunError, match=r"history\.csv, line 3: loss is 'oops'"):
        read_history(tmp_path / "history.csv")
