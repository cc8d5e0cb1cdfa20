from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from batchot.shapes import PointCloud, ShapeError, load_shape, read_hdf5_clouds, read_shape
from oracles.shape_files import hdf5


def write(folder: Path, content: bytes | None = None) -> Path:
    path = folder / "clouds.h5"
    path.write_bytes(hdf5() if content is None else content)
    return path


def test_all_clouds(tmp_path: Path) -> None:
    points, labels = read_hdf5_clouds(write(tmp_path))
    assert points.shape == (3, 64, 3) and points.dtype == np.float32
    assert labels.tolist() == [0, 1, 2] and labels.dtype == np.int64


def test_one_cloud_from_a_file_and_from_memory(tmp_path: Path) -> None:
    points, _ = read_hdf5_clouds(write(tmp_path))
    one = load_shape(tmp_path / "clouds.h5", member=2, normalize=False)
    assert isinstance(one, PointCloud) and np.array_equal(one.points, points[2])
    same = read_shape(hdf5(), ".h5", "memory", member=2, normalize=False)
    assert isinstance(same, PointCloud) and np.array_equal(same.points, points[2])


def test_normals(tmp_path: Path) -> None:
    path = write(tmp_path)
    with h5py.File(path, "a") as file:
        file["normal"] = np.tile(np.float32([0, 0, 2]), (3, 64, 1))
    one = load_shape(path, member=0)
    assert isinstance(one, PointCloud) and one.normals is not None
    assert np.array_equal(one.normals, np.tile([0, 0, 1.0], (64, 1)))


def test_which_cloud_must_be_said(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(ShapeError, match=r"clouds.h5: holds 3 clouds; say which with member=0 to 2"):
        load_shape(path)
    with pytest.raises(ShapeError, match="has no member 3"):
        load_shape(path, member=3)
    assert isinstance(read_shape(hdf5(clouds=1), ".h5", "one"), PointCloud)


@pytest.mark.parametrize("length", [0, 8, 100, 600, -50])
def test_truncated(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, hdf5()[:length])
    with pytest.raises(ShapeError, match=r"clouds.h5"):
        read_hdf5_clouds(path)
    with pytest.raises(ShapeError, match=r"clouds.h5"):
        load_shape(path, member=0)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"gone.h5: .*No such file"):
        read_hdf5_clouds(tmp_path / "gone.h5")


def test_laid_out_in_another_way(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["points"] = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"no data set 'data' of its own \(it has \['points'\]\)"):
        read_hdf5_clouds(path)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((2, 5, 4)), np.zeros((2, 1), int)
    with pytest.raises(ShapeError, match=r"'data' is \(2, 5, 4\)"):
        read_hdf5_clouds(path)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((2, 5, 3)), np.zeros((3, 1), int)
    with pytest.raises(ShapeError, match="2 clouds and 3 labels"):
        read_hdf5_clouds(path)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.full((2, 5, 3), np.nan), np.zeros((2, 1), int)
    with pytest.raises(ShapeError, match="cloud 0 has coordinates that are not finite"):
        read_hdf5_clouds(path)


def test_size_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (2**20, 2**14, 3), np.float32, chunks=(1, 2**14, 3))  # nothing is stored
        file["label"] = np.zeros((1, 1), int)
    with pytest.raises(ShapeError, match=r"should be .* of which 0 are stored"):
        read_hdf5_clouds(path)
    with pytest.raises(ShapeError, match=r"of which 0 are stored"):
        load_shape(path, member=0)


def test_no_other_file_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "link.h5"
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "clouds.h5"), "/data")
        file["label"] = np.zeros((3, 1), int)
    with pytest.raises(ShapeError, match="of its own"):
        read_hdf5_clouds(path)
    with h5py.File(path, "w") as file:
        secret = [(str(tmp_path / "clouds.h5"), 0, 24)]
        file.create_dataset("data", (1, 2, 3), np.float32, external=secret)
        file["label"] = np.zeros((1, 1), int)
    with pytest.raises(ShapeError, match="of its own"):
        load_shape(path, member=0)
