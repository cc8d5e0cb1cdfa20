"""The material of a cross-modal report in a run folder, so that the page can be made again without the data."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from batchot.reporting.cross_material import CrossModalMaterial, Items
from batchot.reporting.material import shrink
from batchot.reporting.saved import described, read_archive, read_described, write_archive

_TEXTS = ("title", "about", "query_name", "gallery_name")
_SIDES = ("query", "gallery")


def cross_material_file(root: Path) -> Path:
    """Give where the queries and the gallery of a cross-modal run lie.

    >>> cross_material_file(Path("runs/a")).name
    'cross_items.npz'
    """
    return root / "cross_items.npz"


def save_cross_material(root: Path, material: CrossModalMaterial) -> Path:
    """Write queries and gallery into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels.

    The history and the settings are in the folder already, as history.csv and config.yaml.

    Args:
        root: run folder
        material: what the report is made from

    Returns:
        The file, cross_items.npz; it is whole or as it was before.

    Raises:
        RunError: the disk is full or not writable
    """
    arrays: dict[str, Tensor] = {}
    about = described(material, _TEXTS)
    for side in _SIDES:
        items: Items = getattr(material, side)
        arrays[f"{side}_embeddings"] = items.embeddings
        arrays[f"{side}_labels"] = items.labels
        arrays[f"{side}_thumbnails"] = shrink(items.thumbnails)
        about[f"{side}_names"] = items.names
    path = cross_material_file(root)
    write_archive(path, arrays, about)
    return path


def load_cross_material(root: Path) -> CrossModalMaterial:
    """Read the material of a cross-modal report from a run folder.

    Args:
        root: run folder that `save_cross_material` has written into

    Returns:
        What was saved, with the history and the settings that lie beside it.

    Raises:
        RunError: there is no such folder or file, or it is damaged
    """
    with read_archive(cross_material_file(root)) as (about, arrays):
        names = {side: about[f"{side}_names"] for side in _SIDES}
        query, gallery = (
            Items(
                arrays[f"{side}_embeddings"],
                arrays[f"{side}_labels"],
                arrays[f"{side}_thumbnails"],
                None if names[side] is None else tuple(names[side]),
            )
            for side in _SIDES
        )
        return CrossModalMaterial(**read_described(root, about, _TEXTS), query=query, gallery=gallery)
