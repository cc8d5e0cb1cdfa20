"""Shapes of an index that are there more than once."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from batchot.cli import main
from batchot.search.about import duplicates
from batchot.search.store import ShapeStore
from search.test_searcher import make, networks
from search_support import make_record, unit_vectors

__all__ = ["networks"]


def test_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "index"
    manifest = make(index)
    x = unit_vectors(40, seed=len("first"))
    assert manifest.spread is not None
    step = np.float32(0.06 * manifest.spread)
    away = unit_vectors(1, seed=9)[0]
    with ShapeStore.open(str(index / "shapes")) as store:
        store.add(
            [
                make_record("copy/7.off", x[7], "c1", content=f"{7:064x}"),
                make_record("near/a.off", x[5] + step * away, content="a" * 64),
                make_record("near/b.off", x[5] + 2 * step * away, content="b" * 64),  # of a, not of 5
                make_record("near/long.off", x[5], content="d" * 64, size=(1.0, 2.0, 9.0)),
            ]
        )
    same, near = duplicates(index)
    assert same.what == "same file" and same.names == ("c1/7.off", "copy/7.off")
    assert near.names == ("c2/5.off", "near/a.off", "near/b.off")
    assert near.distance == pytest.approx(step, rel=1e-3)
    assert [group.what for group in duplicates(index, threshold=0.0)] == ["same file"]
    table = tmp_path / "groups.csv"
    assert main(["index", "duplicates", str(index), "--csv", str(table)]) == 0
    assert "2 groups, 3 shapes that another one stands for" in capsys.readouterr().out
    assert [row["group"] for row in csv.DictReader(table.open())] == ["1", "1", "2", "2", "2"]
    assert main(["index", "duplicates", str(index), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["names"] == ["c1/7.off", "copy/7.off"]
    assert main(["index", "duplicates", str(index), "--threshold=-1"]) == 2
    shutil.rmtree(index / "shapes")
    assert main(["index", "duplicates", str(index)]) == 1
