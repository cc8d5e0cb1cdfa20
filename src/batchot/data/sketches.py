"""A folder for each class with files of sketches in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from batchot.data.errors import DataError
from batchot.data.folder import IMAGE_ENDINGS
from batchot.data.folder_layout import LAYOUTS, Part, place_files
from batchot.data.images import Images, Splits
from batchot.data.seeded_split import choose_test
from batchot.data.shape_files import find_shape_files, name_shapes, shorten
from batchot.data.sketch_files import SketchFile, load_sketch_files, warn_user


def load_sketch_folder(
    folder: Path,
    *,
    size: int = 128,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    tell: Callable[[str], None] = warn_user,
    name: str = "sketches",
) -> Splits[Images]:
    """Load ``CLASS/train/*`` and ``CLASS/test/*``, ``train/CLASS/*`` and ``test/CLASS/*``, or divide
    ``CLASS/*`` by chance.

    Sketches of any format, depth and colour become dark strokes on white paper, each drawing cropped to its
    bounding box and centred with a margin of 5 %, proportions kept
    (:func:`~batchot.data.sketch_image.canonical`).

    Args:
        folder: the folder.
        size: height and width that they are brought to.
        test_fraction: share of each class that is kept for the test, in (0, 1), where the folder has no
            ``train/`` and ``test/``.
        split_seed: of that division, which depends on the seed and the names alone.
        tell: told in a sentence what was left out: blank and damaged files, files that are no images or lie
            in no class. By default that is a warning.
        name: of the data set.

    Returns:
        Grey images, uint8, ``(n, 1, size, size)``, with names; classes in alphabetical order.

    Raises:
        DataError: when the folder is missing or holds no images, or nothing of a class can be used.

    Example:
        >>> import tempfile
        >>> from PIL import Image, ImageDraw
        >>> from batchot.data import load_sketch_folder
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for k in range(5):
        ...         paper = Image.new("L", (90, 60), "white")
        ...         ImageDraw.Draw(paper).ellipse((10, 10, 40 + 5 * k, 40), outline="black")
        ...         (Path(root) / "egg").mkdir(exist_ok=True)
        ...         paper.save(Path(root) / "egg" / f"{k}.png")
        ...     splits = load_sketch_folder(Path(root), size=32)
        >>> splits.train.images.shape, splits.test.names
        (torch.Size([4, 1, 32, 32]), ('egg/3',))
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder with {LAYOUTS}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    found = find_shape_files(folder)
    images = [path for path in found.others if path.suffix.lower() in IMAGE_ENDINGS]
    if not images:
        endings = " ".join(sorted(IMAGE_ENDINGS))
        raise DataError(f"{folder} holds no images; expected {LAYOUTS}, FILE ending in one of {endings}")
    no_images = [*found.shapes, *(path for path in found.others if path.suffix.lower() not in IMAGE_ENDINGS)]
    _tell_left_out(folder, no_images, "are no images", tell)
    _tell_left_out(folder, found.unreadable, "cannot be read or lead in a circle", tell)
    placed, in_no_class = place_files(folder, images, "sketches")
    _tell_left_out(folder, in_no_class, "lie in no class or part", tell)
    if not placed:
        raise DataError(f"{folder} holds images, but none in the folder of a class; expected {LAYOUTS}")
    files = _divide(folder, placed, test_fraction, split_seed)
    return load_sketch_files(name, files, size=size, tell=tell)


def _divide(
    folder: Path, placed: Sequence[tuple[PurePosixPath, str, Part | None]], fraction: float, seed: int
) -> list[SketchFile]:
    names = name_shapes([path for path, _, _ in placed], [part for _, _, part in placed])
    undecided: dict[str, list[str]] = defaultdict(list)
    for (_, class_name, part), name in zip(placed, names, strict=True):
        if part is None:
            undecided[class_name].append(name)
    in_test = {name for of_class in undecided.values() for name in choose_test(of_class, fraction, seed)}
    return [
        SketchFile(name, class_name, part or ("test" if name in in_test else "train"), folder / path)
        for (path, class_name, part), name in zip(placed, names, strict=True)
    ]


def _tell_left_out(
    folder: Path, paths: Sequence[PurePosixPath], why: str, tell: Callable[[str], None]
) -> None:
    if paths:
        tell(f"{folder}: {len(paths):,} files left out that {why}: {shorten(paths)}")
