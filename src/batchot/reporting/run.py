"""Figures and page of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchot.files import RunFolder, write_bytes, write_text
from batchot.reporting.across import draw_retrieved
from batchot.reporting.analysis import Analysis
from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_plane_map, draw_shared_map
from batchot.reporting.material import Items, ReportMaterial
from batchot.reporting.neighbours import draw_neighbours
from batchot.reporting.page import make_page
from batchot.reporting.saved import load_material, save_material
from batchot.reporting.style import figure_png
from batchot.reporting.thumbnails import thumbnails_of
from batchot.training.losses import transport_settings
from batchot.training.plan_history import read_plans

if TYPE_CHECKING:
    from batchot.training.run import TrainedRun


def write_report(run: TrainedRun) -> None:
    """Write figures/*.png, report.html and the test items of a run."""
    material = material_of_run(run)
    save_material(run.folder.root, material)
    write_pages(run.folder, material)


def rebuild_report(root: Path) -> RunFolder:
    """Write figures and report of a run folder again, from what it holds."""
    folder = RunFolder(root)
    write_pages(folder, load_material(root))
    return folder


def write_pages(folder: RunFolder, material: ReportMaterial) -> None:
    """Write figures/*.png and report.html."""
    title, classes, analysis = material.title, material.classes, Analysis(material)
    if material.rows:
        write_bytes(folder.figures / "curves.png", figure_png(draw_curves(material.rows, title)))
    if material.gallery is None:
        plane = analysis.plane
        heading = f"{title}\n{plane.how} of {len(plane.points):,} test {material.items}"
        figure = draw_plane_map(plane, classes, title=heading)
        retrieved = draw_neighbours(material.thumbnails, analysis.x, analysis.labels, classes, title=title)
    else:
        names = (material.queries, material.targets)
        heading = f"{title}\n{analysis.shared.how} of {names[0]} and {names[1]}"
        figure = draw_shared_map(analysis.shared, classes, names, title=heading)
        retrieved = draw_retrieved(analysis, title=title)
    write_bytes(folder.figures / "embedding.png", figure_png(figure))
    write_bytes(folder.figures / "retrieved.png", retrieved)
    write_text(folder.report, make_page(material, analysis))


def material_of_run(run: TrainedRun) -> ReportMaterial:
    """Give what a report is made from."""
    recipe, samples, sought = run.recipe, run.data.queries, run.data.gallery
    gallery = None
    if run.gallery is not None and sought is not None:
        pictures = thumbnails_of(sought)
        gallery = Items(run.gallery.embeddings, run.gallery.labels, pictures, sought.names or None)
    return ReportMaterial(
        title=f"{recipe.name}, {recipe.loss.name}, seed {recipe.seed}",
        about=recipe.about,
        config=run.folder.config.read_text(encoding="utf-8"),
        rows=run.rows,
        classes=run.data.classes,
        embeddings=run.queries.embeddings,
        labels=run.queries.labels,
        thumbnails=thumbnails_of(samples),
        names=samples.names or None,
        items="shapes" if recipe.data.shapes else "images",
        logits=run.queries.logits,
        normalized=run.normalized,
        loss=transport_settings(recipe.loss),
        plans=read_plans(run.folder.plans),
        gallery=gallery,
        query_name=recipe.query,
        gallery_name=recipe.target,
    )
