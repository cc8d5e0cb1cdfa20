"""Figures and page of a finished cross-modal run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchot.losses import CrossModalBatchOTLoss
from batchot.reporting.cross_analysis import CrossAnalysis
from batchot.reporting.cross_map import draw_shared_map
from batchot.reporting.cross_material import CrossModalMaterial, Items
from batchot.reporting.cross_page import make_cross_page
from batchot.reporting.cross_retrieved import draw_retrieved
from batchot.reporting.cross_saved import save_cross_material
from batchot.reporting.curves import draw_curves
from batchot.reporting.theme import figure_png
from batchot.reporting.thumbnails import thumbnails_of
from batchot.training.files import RunFolder, write_bytes, write_text

if TYPE_CHECKING:
    from batchot.data import Samples
    from batchot.training.cross_run import TrainedCrossRun
    from batchot.training.scores import Embedded


def write_cross_report(run: TrainedCrossRun) -> None:
    """Write figures/*.png, report.html and cross_items.npz of a cross-modal run.

    Args:
        run: as `batchot.training.cross_run.train_cross` returns it

    Raises:
        RunError: the disk is full; files are whole or absent
    """
    material = material_of_cross_run(run)
    save_cross_material(run.folder.root, material)
    write_cross_pages(run.folder, material)


def write_cross_pages(folder: RunFolder, material: CrossModalMaterial) -> None:
    """Write figures/*.png and report.html.

    Args:
        folder: where to
        material: what they are made from

    Raises:
        RunError: the disk is full; files are whole or absent
    """
    title, analysis = material.title, CrossAnalysis(material)
    if material.rows:
        write_bytes(folder.figures / "curves.png", figure_png(draw_curves(material.rows, title)))
    names = (material.queries, material.targets)
    heading = f"{title}\n{analysis.plane.how} of {names[0]} and {names[1]}"
    map_figure = draw_shared_map(analysis.plane, material.classes, names, title=heading)
    write_bytes(folder.figures / "embedding.png", figure_png(map_figure))
    write_bytes(folder.figures / "retrieved.png", draw_retrieved(analysis, title=title))
    write_text(folder.report, make_cross_page(material, analysis))


def material_of_cross_run(run: TrainedCrossRun) -> CrossModalMaterial:
    """Give what a cross-modal report is made from.

    Args:
        run: as `batchot.training.cross_run.train_cross` returns it

    Returns:
        The material.
    """
    from batchot.training.cross_losses import cross_normalizes, make_cross_loss

    recipe, data = run.recipe, run.data
    loss = make_cross_loss(recipe, len(data.classes))
    return CrossModalMaterial(
        title=f"{recipe.name}, {recipe.loss.name}, seed {recipe.seed}",
        about=recipe.about,
        config=run.folder.config.read_text(encoding="utf-8"),
        rows=run.rows,
        classes=data.classes,
        query=_items(run.queries, data.queries),
        gallery=_items(run.gallery, data.gallery),
        query_name=recipe.query,
        gallery_name=recipe.target,
        normalized=cross_normalizes(loss),
        loss=loss.settings if isinstance(loss, CrossModalBatchOTLoss) else None,
    )


def _items(embedded: Embedded, samples: Samples) -> Items:
    return Items(embedded.embeddings, embedded.labels, thumbnails_of(samples), samples.names or None)
