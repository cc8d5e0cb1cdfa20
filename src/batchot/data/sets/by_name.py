"""Data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from batchot.data.images import Splits
from batchot.data.sets.cifar10 import load_cifar10
from batchot.data.sets.digits import load_digits
from batchot.data.sets.mnist import load_mnist
from batchot.data.sets.pictures import load_image_folder
from batchot.errors import DataError

DatasetName = Literal["mnist", "cifar10", "digits", "folder"]


def load_dataset(
    name: DatasetName, data_root: Path | None = None, *, download: bool = True, size: int | None = None
) -> Splits:
    """Load a data set by its name.

    Args:
        name: ``"mnist"``, ``"cifar10"``, ``"digits"`` (comes with scikit-learn), or ``"folder"`` (class
            folders of images in ``data_root`` itself).
        data_root: folder that holds a folder of that name, or the files themselves; else ``$BATCHOT_DATA``,
            else the user's cache folder.
        download: download into the cache folder what is found nowhere.
        size: height and width to which the images of ``"folder"`` are scaled; the others have a size of their
            own.

    Returns:
        Training and test images.

    Raises:
        DataError: on an unknown name, on data that is missing or damaged, on a size where none applies.

    Example:
        >>> from batchot.data import load_dataset
        >>> load_dataset("digits").name
        'digits'
    """
    if name not in get_args(DatasetName):
        raise DataError(f"unknown data set {name!r}; there are {', '.join(get_args(DatasetName))}")
    if size is not None and name != "folder":
        raise DataError(
            f"size={size} applies to the data set 'folder' only; the images of {name!r} have their own"
        )
    if name == "mnist":
        return load_mnist(data_root, download=download)
    if name == "cifar10":
        return load_cifar10(data_root, download=download)
    if name == "digits":
        return load_digits()
    if data_root is None:
        raise DataError(
            "the data set 'folder' needs --data-root: the folder with train/CLASS/ and test/CLASS/, or CLASS/"
        )
    return load_image_folder(Path(data_root), size=size)
