"""Figures and page of a finished run, and what they are made from, kept in the run folder."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from batchot.files import RunFolder, read_csv, write_bytes, write_text
from batchot.losses import BatchOTSettings
from batchot.reporting.across import draw_retrieved
from batchot.reporting.analysis import Analysis
from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_plane_map, draw_shared_map
from batchot.reporting.material import Items, ReportMaterial, shrink, thumbnails_of
from batchot.reporting.neighbours import draw_neighbours
from batchot.reporting.page import make_page
from batchot.reporting.style import figure_png
from batchot.towers.saved import read_archive, write_archive
from batchot.training.losses import read_plans, transport_settings

if TYPE_CHECKING:
    from batchot.training.callbacks import Row
    from batchot.training.run import TrainedRun


def write_report(run: TrainedRun) -> None:
    material = material_of_run(run)
    save_material(run.folder.root, material)
    write_pages(run.folder, material)


def rebuild_report(root: Path) -> RunFolder:
    """Write figures and report of a run folder again, from what it holds."""
    folder = RunFolder(root)
    write_pages(folder, load_material(root))
    return folder


def write_pages(folder: RunFolder, material: ReportMaterial) -> None:
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


_TEXTS = ("title", "about", "predicted_by", "items")
_ACROSS = ("title", "about", "query_name", "gallery_name")


def save_material(root: Path, material: ReportMaterial) -> Path:
    """Write the test items into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels."""
    across = material.gallery is not None
    about: dict[str, Any] = {name: getattr(material, name) for name in (_ACROSS if across else _TEXTS)}
    about |= {
        "classes": material.classes,
        "normalized": material.normalized,
        "loss": None if material.loss is None else dataclasses.asdict(material.loss),
    }
    sides = {"query_": material.query, "gallery_": material.sought} if across else {"": material.query}
    arrays: dict[str, Tensor] = {}
    for side, items in sides.items():
        arrays[f"{side}embeddings"], arrays[f"{side}labels"] = items.embeddings, items.labels
        arrays[f"{side}thumbnails"] = shrink(items.thumbnails)
        about[f"{side}names"] = items.names
    if not across:
        optional = {"logits": material.logits, "predictions": material.predictions}
        arrays |= {name: value for name, value in optional.items() if value is not None}
    folder = RunFolder(root)
    path = folder.cross_items if across else folder.items
    write_archive(path, arrays, about)
    return path


def load_material(root: Path) -> ReportMaterial:
    folder = RunFolder(root)
    across = folder.cross_items.is_file()
    with read_archive(folder.cross_items if across else folder.items) as (about, arrays):
        loss = about["loss"]
        fields: dict[str, Any] = {name: about[name] for name in (_ACROSS if across else _TEXTS)} | {
            "config": folder.config.read_text(encoding="utf-8") if folder.config.is_file() else "",
            "rows": read_history(folder.history),
            "classes": tuple(about["classes"]),
            "normalized": bool(about["normalized"]),
            "loss": None if loss is None else BatchOTSettings(**loss),
        }
        if not across:
            return ReportMaterial(
                **(fields | arrays), names=_names(about, ""), plans=read_plans(folder.plans)
            )
        query, gallery = (_side(about, arrays, side) for side in ("query_", "gallery_"))
        return ReportMaterial(**fields, **query, gallery=Items(**gallery))


def _side(about: Mapping[str, Any], arrays: Mapping[str, Tensor], side: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: arrays[f"{side}{name}"] for name in ("embeddings", "labels", "thumbnails")}
    return found | {"names": _names(about, side)}


def _names(about: Mapping[str, Any], side: str) -> tuple[str, ...] | None:
    names = about[f"{side}names"]
    return None if names is None else tuple(names)


def read_history(path: Path) -> tuple[Row, ...]:
    from batchot.training.callbacks import Row

    types = typing.get_type_hints(Row)

    def read(cells: Mapping[str, str]) -> Row:
        values: dict[str, Any] = {name: _value(name, cells.get(name), kind) for name, kind in types.items()}
        return Row(**values)

    return read_csv(path, read)


def _value(name: str, text: str | None, kind: object) -> int | float | str | None:
    kinds = typing.get_args(kind) or (kind,)
    if text is None or text == "":
        return None
    try:
        return int(text) if int in kinds else float(text) if float in kinds else text
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, which is no number") from error
