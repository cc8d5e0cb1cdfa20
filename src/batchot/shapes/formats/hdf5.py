"""Clouds of points in HDF5 files laid out as those of ``modelnet40_ply_hdf5_2048``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError, require
from batchot.shapes.formats.points import cloud_with_normals
from batchot.shapes.shape import PointCloud, finite_cloud

_MAX_BYTES = 8 << 30
_MAX_RATIO = 1100  # no filter of HDF5 packs better than gzip at its best


def read_hdf5_clouds(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All clouds of an HDF5 file with the data sets ``data`` (n, points, 3) and ``label`` (n, 1).

    Args:
        path: the file.

    Returns:
        Points (n, points, 3) float32, labels (n,) int64.

    Raises:
        ShapeError: naming the file that is damaged or laid out in another way.

    Source:
        C. R. Qi et al., PointNet, data set modelnet40_ply_hdf5_2048.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import h5py
        >>> import numpy as np
        >>> from batchot.shapes import read_hdf5_clouds
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(Path(folder) / "train0.h5", "w") as file:
        ...         file["data"], file["label"] = np.zeros((5, 2048, 3), np.float32), np.zeros((5, 1), np.uint8)
        ...     points, labels = read_hdf5_clouds(Path(folder) / "train0.h5")
        >>> points.shape, labels.shape
        ((5, 2048, 3), (5,))
    """
    try:
        with opened_hdf5(Path(path)) as file:
            points = hdf5_dataset(file, "data")
            labels = hdf5_dataset(file, "label")
            if points.nbytes > _MAX_BYTES or labels.nbytes > _MAX_BYTES:
                raise ShapeError(f"its points take {points.nbytes:,} bytes; split it into several files")
            clouds = np.asarray(points[()], dtype=np.float32)  # (n, points, 3)
            classes = np.asarray(labels[()]).reshape(-1)
        if len(classes) != len(clouds) or classes.dtype.kind not in "iu":
            raise ShapeError(
                f"has {len(clouds)} clouds and {len(classes)} labels of {classes.dtype}; restore it"
            )
        bad = ~np.isfinite(clouds).all(axis=(1, 2))
        if bad.any():
            raise ShapeError(
                f"cloud {int(bad.argmax())} has coordinates that are not finite; restore the file"
            )
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from error
    return clouds, classes.astype(np.int64)


def read_hdf5(source: bytes | Path, member: int | None) -> PointCloud:
    """One cloud of an HDF5 file, with normals if the file has the data set ``normal``."""
    with opened_hdf5(source) as file:
        points = hdf5_dataset(file, "data")
        n = points.shape[0]
        if member is None and n != 1:
            raise ShapeError(f"holds {n:,} clouds; say which with member=0 to {n - 1}")
        index = member or 0
        if not 0 <= index < n:
            raise ShapeError(f"has no member {index}; its {n:,} clouds are 0 to {n - 1}")
        if "normal" in file and hdf5_dataset(file, "normal").shape == points.shape:
            return cloud_with_normals(points[index], file["normal"][index])
        return finite_cloud(points[index])


@contextmanager
def opened_hdf5(source: bytes | Path) -> Iterator[Any]:
    """The open file; whatever h5py raises while it is in use becomes a ``ShapeError``."""
    h5py = require("h5py")
    try:
        with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
            yield file
    except (ShapeError, ImportError):
        raise
    except Exception as error:  # h5py passes on what its C library says in half a dozen types
        raise ShapeError(f"cannot be read as HDF5 ({error}); the file is damaged: restore it") from error


def hdf5_dataset(file: Any, name: str) -> Any:
    """The data set of that name, (n, points, 3) of floats or the labels, if it lies in the file itself."""
    h5py = require("h5py")
    # A link or a data set may name another file on disk, which a file from elsewhere has no business to.
    link = file.get(name, getlink=True)
    dataset = file.get(name) if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ShapeError(
            f"has no data set {name!r} of its own (it has {sorted(file)[:8]}); see the layout expected"
        )
    if name != "label" and (dataset.ndim != 3 or dataset.shape[2] != 3 or dataset.dtype.kind != "f"):
        raise ShapeError(f"{name!r} is {dataset.shape} of {dataset.dtype}, expected (n, points, 3) of floats")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > stored * _MAX_RATIO:
        raise ShapeError(
            f"{name!r} should be {dataset.nbytes:,} bytes, of which {stored:,} are stored (packed); the file is "
            "damaged: restore it"
        )
    return dataset
