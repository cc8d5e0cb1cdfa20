"""Figures and page of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchot.files import RunFolder, write_bytes, write_text
from batchot.reporting.analysis import Analysis
from batchot.reporting.cross_page import material_of_cross_run, write_cross_pages
from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_plane_map
from batchot.reporting.material import ReportMaterial
from batchot.reporting.neighbours import draw_neighbours
from batchot.reporting.page import make_page
from batchot.reporting.saved import load_cross_material, load_material, save_cross_material, save_material
from batchot.reporting.style import figure_png
from batchot.reporting.thumbnails import thumbnails_of
from batchot.towers.items import cross_material_file
from batchot.training.losses import transport_settings
from batchot.training.plan_history import read_plans

if TYPE_CHECKING:
    from batchot.training.run import TrainedRun


def write_report(run: TrainedRun) -> None:
    """Write figures/*.png, report.html and test_items.npz of a run."""
    if run.gallery is not None and run.data.gallery is not None:
        across = material_of_cross_run(run, run.gallery, run.data.gallery)
        save_cross_material(run.folder.root, across)
        write_cross_pages(run.folder, across)
        return
    material = material_of_run(run)
    save_material(run.folder.root, material)
    write_pages(run.folder, material)


def rebuild_report(root: Path) -> RunFolder:
    """Write figures and report of a run folder again, from what it holds."""
    folder = RunFolder(root)
    if cross_material_file(root).is_file():
        write_cross_pages(folder, load_cross_material(root))
    else:
        write_pages(folder, load_material(root))
    return folder


def write_pages(folder: RunFolder, material: ReportMaterial) -> None:
    """Write figures/*.png and report.html."""
    title, classes, analysis = material.title, material.classes, Analysis(material)
    if material.rows:
        write_bytes(folder.figures / "curves.png", figure_png(draw_curves(material.rows, title)))
    plane = analysis.plane
    heading = f"{title}\n{plane.how} of {len(plane.points):,} test {material.items}"
    write_bytes(folder.figures / "embedding.png", figure_png(draw_plane_map(plane, classes, title=heading)))
    retrieved = draw_neighbours(material.thumbnails, analysis.x, analysis.labels, classes, title=title)
    write_bytes(folder.figures / "retrieved.png", retrieved)
    write_text(folder.report, make_page(material, analysis))


def material_of_run(run: TrainedRun) -> ReportMaterial:
    """Give what a report is made from."""
    recipe, samples = run.recipe, run.data.queries
    return ReportMaterial(
        title=f"{recipe.name}, {recipe.loss.name}, seed {recipe.seed}",
        about=recipe.about,
        config=run.folder.config.read_text(encoding="utf-8"),
        rows=run.rows,
        classes=samples.classes,
        embeddings=run.queries.embeddings,
        labels=run.queries.labels,
        thumbnails=thumbnails_of(samples),
        names=samples.names or None,
        items="shapes" if recipe.data.shapes else "images",
        logits=run.queries.logits,
        normalized=run.normalized,
        loss=transport_settings(recipe.loss),
        plans=read_plans(run.folder.plans),
    )
