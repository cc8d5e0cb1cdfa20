"""Figures and page of a finished run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_embedding
from batchot.reporting.neighbours import draw_neighbours
from batchot.reporting.page import make_page
from batchot.training.files import write_bytes, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from batchot.training.callbacks import Row
    from batchot.training.run import TrainedRun


def write_report(run: TrainedRun) -> None:
    """Write figures/*.png and report.html of a run.

    Args:
        run: as `batchot.training.train` returns it

    Raises:
        RunError: the disk is full; files are whole or absent
    """
    recipe, images = run.recipe, run.splits.test
    title = f"{recipe.name}, {recipe.loss.name}, seed {recipe.seed}"
    embeddings, labels, classes = run.test.embeddings, run.test.labels, images.classes
    drawn = {
        "curves": draw_curves(run.rows, title),
        "embedding": draw_embedding(embeddings, labels, classes, title=title),
        "retrieved": draw_neighbours(images.images, embeddings, labels, classes, title=title),
    }
    captions = {"curves": "Curves", "embedding": "Embedding", "retrieved": "Nearest neighbours"}
    pngs: dict[str, bytes] = {}
    for name, figure in drawn.items():
        pngs[captions[name]] = _png(figure)
        write_bytes(run.folder.figures / f"{name}.png", pngs[captions[name]])
    about = (
        f"{recipe.about}. Test-to-test retrieval and classification in %; evaluation is not in the seconds."
    )
    header, table = _table(run.rows)
    config = run.folder.config.read_text()
    write_text(run.folder.report, make_page(f"batchot: {title}", about, header, table, pngs, config))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    header = ["epoch", "loss", "mAP", "NN", "FT", "ST", "E", "DCG", "accuracy", "by", "seconds"]

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    table = [
        [
            str(row.epoch),
            f"{row.loss:.4f}",
            *(percent(v) for v in (row.map, row.nn, row.ft, row.st, row.e, row.dcg, row.accuracy)),
            row.accuracy_by or "",
            f"{row.seconds:.0f}",
        ]
        for row in rows
    ]
    return header, table
