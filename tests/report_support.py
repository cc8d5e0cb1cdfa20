"""A row of a history, and what is asked of reports of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from batchot.files import RunFolder
from batchot.reporting.run import rebuild_report
from batchot.training.callbacks import Row

FIRST_ROW = Row(
    epoch=1,
    map=0.5,
    nn=0.6,
    ft=0.4,
    st=0.5,
    e=0.1,
    dcg=0.7,
    accuracy=0.8,
    accuracy_by="head",
    seconds=1.0,
    knn_accuracy=0.8,
    loss=0.3,
    violated_mass=0.9,
    effective_pairs=10.0,
    marginal_error=0.0,
    seed=0,
)


def check_rebuilt(folder: RunFolder, copy: Path) -> None:
    """The report of a run has its figures, and comes out the same from a copy of the folder without report."""
    figures = ["curves.png", "embedding.png", "retrieved.png"]
    assert sorted(path.name for path in folder.figures.iterdir()) == figures
    shutil.copytree(folder.root, copy)
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "figures")
    rebuilt = rebuild_report(copy)
    assert rebuilt.report.read_text() == folder.report.read_text()
    assert sorted(path.name for path in rebuilt.figures.iterdir()) == figures


def check_sections(seen: Any, sections: list[str]) -> None:
    """A page has these sections, links to them all, and needs no other file."""
    assert seen.ids == sections
    inside = [address for address in seen.addresses if address.startswith("#")]
    assert inside == [f"#{name}" for name in sections]
    rest = [address for address in seen.addresses if not address.startswith("#")]
    assert len(rest) > 50
    assert all(address.startswith("data:image/png;base64,") for address in rest)
