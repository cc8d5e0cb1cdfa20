"""An audit of rendered images that somebody else has made, in class folders."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from batchot.audit.audit import AuditCheck, AuditReport, chance_check, chance_test

IMAGE_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIEW_PATTERN = r"(?P<shape>.+)_v?(?P<view>\d{1,3})"
_SPLITS = frozenset({"train", "test", "val", "valid", "validation"})
_NOT_EMPTY = 32  # grey levels within one corner above which something is to be seen in it


@dataclass(frozen=True)
class RenderedShape:
    """The images of one shape, as found in a folder."""

    name: str  # class, split if any, and name, with ``/`` between
    class_name: str  # its class
    images: tuple[Path, ...]  # the files, in the order of their names


def audit_images(
    folder: Path,
    *,
    cameras: Path | None = None,
    view_pattern: str = VIEW_PATTERN,
    max_shapes: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> AuditReport:
    """Look for leaks of the class in a folder of rendered images."""
    shapes = find_rendered(folder, view_pattern)
    if len(shapes) > max_shapes:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(shapes))[:max_shapes])
        shapes = [shapes[index] for index in chosen]
    labels = [shape.class_name for shape in shapes]
    corners, formats, busy, n_images = [], [], 0, 0
    for shape in tqdm(shapes, desc="corners", unit="shape", disable=not progress, leave=False):
        looks = [_look_at(path) for path in shape.images]
        values = np.array([look.corners for look in looks])
        corners.append(np.concatenate([values.mean(axis=0), values.std(axis=0)]))
        forms = np.array([look.format for look in looks])
        formats.append([len(looks), *forms.mean(axis=0), *forms.std(axis=0)])
        busy += sum(look.busy for look in looks)
        n_images += len(looks)
    what = "the class, from the corners of the images"
    if busy:
        what += f" (in {busy:,} of {n_images:,} something reaches into a corner)"
    checks = [
        chance_check("corners", chance_test(np.array(corners), labels, seed=seed), what),
        chance_check(
            "files",
            chance_test(np.array(formats), labels, seed=seed),
            "the class, from number, size and colour mode of the images",
        ),
    ]
    if cameras is None:
        finding = "not looked at: nothing says from where each image was seen; give a CSV file of the cameras"
        checks.append(AuditCheck("cameras", False, finding))
    else:
        features = _camera_table(shapes, cameras, folder)
        test = chance_test(features, labels, seed=seed)
        checks.append(chance_check("cameras", test, "the class, from where each shape was seen"))
    return AuditReport(f"{n_images:,} images in {folder}", len(shapes), tuple(checks))


def find_rendered(folder: Path, view_pattern: str = VIEW_PATTERN) -> list[RenderedShape]:
    try:
        pattern = re.compile(view_pattern)
    except re.error as error:
        raise ValueError(f"view_pattern {view_pattern!r} is no regular expression: {error}") from error
    if "shape" not in pattern.groupindex:
        raise ValueError(f"view_pattern {view_pattern!r} has no group (?P<shape>...)")
    found: dict[tuple[str, str], list[Path]] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        parts = Path(parent).relative_to(folder).parts
        classes = [part for part in parts if part.lower() not in _SPLITS]
        if not classes:
            continue
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if ending.lower() in IMAGE_ENDINGS and not file.startswith("."):
                matched = pattern.fullmatch(stem)
                name = "/".join([*parts, matched["shape"] if matched else stem])
                found.setdefault((name, classes[0]), []).append(Path(parent) / file)
    if not found:
        raise ValueError(f"{folder} holds no images; expected {folder}/CLASS/SPLIT/NAME_VIEW.png")
    return [RenderedShape(name, label, tuple(images)) for (name, label), images in sorted(found.items())]


@dataclass(frozen=True)
class _Look:
    corners: NDArray[np.float64]
    format: tuple[float, ...]
    busy: bool


def _look_at(path: Path) -> _Look:
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode = len(image.getbands())
            pixels = np.asarray(image.convert("RGBA"))  # (h, w, 4)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is damaged or no image ({error}); restore it or delete it") from error
    h, w = pixels.shape[:2]
    k = max(1, min(h, w) // 32)
    blocks = np.stack([pixels[:k, :k], pixels[:k, -k:], pixels[-k:, :k], pixels[-k:, -k:]])
    flat = blocks.reshape(4, k * k, 4).astype(np.float64)
    levels = np.stack([flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), flat.max(axis=1)])
    busy = bool((flat.max(axis=1) - flat.min(axis=1)).max() > _NOT_EMPTY)
    return _Look(levels.reshape(-1), (float(h), float(w), float(mode)), busy)


def _camera_table(shapes: Sequence[RenderedShape], table: Path, folder: Path) -> NDArray[np.float64]:
    rows = _read_table(table)
    features = []
    for shape in shapes:
        images = [image.relative_to(folder).as_posix() for image in shape.images]
        own = [rows[name] for name in ([shape.name] if shape.name in rows else images) if name in rows]
        if not own:
            raise ValueError(f"{table} has no row for {shape.name}, nor for its images")
        values = np.array(own)
        features.append(np.concatenate([values.mean(axis=0), values.min(axis=0), values.max(axis=0)]))
    return np.stack(features)


def _read_table(table: Path) -> Mapping[str, list[float]]:
    rows: dict[str, list[float]] = {}
    line = 1
    try:
        with open(table, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            width = len(next(reader, []))
            for row in reader:
                line = reader.line_num
                if len(row) != width or width < 2:
                    raise ValueError(f"it has {len(row)} columns, the header has {width}")
                numbers = [float(value) for value in row[1:]]
                if not np.isfinite(numbers).all():
                    raise ValueError("it has a number that is not finite")
                rows[row[0]] = numbers
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{table}, line {line}: {error}; expected a header, then a name and numbers"
        ) from error
    return rows
