"""Shapes in files of their own, in archives and in HDF5 files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest

from batchot.shapes import Mesh, PointCloud, ShapeError, ShapeWarning
from batchot.shapes.source import ShapeSource
from data.shape_formats import box_off, cloud, pack, write_hdf5_folder

BOX = box_off(height=3)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("boxes/ein Stück.off", BOX)
    return path


def in_archive(path: Path) -> ShapeSource:
    return ShapeSource("box", path, "boxes/ein Stück.off")


def test_same_content_wherever_it_lies(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "Würfel 立方体.OFF").write_bytes(BOX)
    alone = ShapeSource("box", tmp_path / "Würfel 立方体.OFF")
    assert alone.content() == in_archive(archive).content() == BOX
    assert alone.sha256() == in_archive(archive).sha256() == hashlib.sha256(BOX).hexdigest()
    assert alone.ending == in_archive(archive).ending == ".off"
    one, other = alone.load(), in_archive(archive).load()
    assert isinstance(one, Mesh) and isinstance(other, Mesh)
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.faces, other.faces)


def test_loaded_shape_is_upright_and_in_the_unit_sphere(archive: Path) -> None:
    mesh = in_archive(archive).load()
    assert isinstance(mesh, Mesh)
    extent = np.ptp(mesh.vertices, axis=0)
    np.testing.assert_allclose(extent / extent[0], [1, 1, 3])
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize("lies_in_archive", [False, True])
def test_up_of_the_collection_holds_until_another_is_asked_for(
    tmp_path: Path, archive: Path, lies_in_archive: bool
) -> None:
    (tmp_path / "box.off").write_bytes(BOX)
    where = (archive, "boxes/ein Stück.off") if lies_in_archive else (tmp_path / "box.off", None)
    source = ShapeSource("box", *where, up="y")

    def longest(shape: object) -> int:
        assert isinstance(shape, Mesh)
        return int(np.ptp(shape.vertices, axis=0).argmax())

    assert longest(source.load()) == 1  # z of the file, turned by 90 degrees
    assert longest(source.load("z")) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_hdf5(tmp_path: Path, packed: bool) -> None:
    folder = write_hdf5_folder(tmp_path / "clouds", ["chair", "cup"], {"train0": [0, 1, 0]})
    if packed:
        path, member = pack(folder, tmp_path / "clouds.zip"), "clouds/ply_data_train0.h5#2"
    else:
        path, member = folder / "ply_data_train0.h5", "2"
    source = ShapeSource("chair/2", path, member, up="y")
    assert source.is_row and source.ending == ".npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(source.content())), cloud(2))
    stored = source.stored_points()
    assert stored is not None
    np.testing.assert_array_equal(stored, cloud(2))
    shape = source.load()
    assert isinstance(shape, PointCloud)
    low, high = cloud(2).min(0), cloud(2).max(0)
    centred = cloud(2) - (low + high) / 2
    expected = (centred / np.linalg.norm(centred, axis=1).max())[:, [0, 2, 1]] * [1, -1, 1]
    np.testing.assert_allclose(shape.points, expected, atol=1e-6)
    with pytest.raises(ShapeError, match=r"clouds"):
        ShapeSource("none", path, member.replace("2", "3")).load()
    with pytest.raises(ShapeError, match=r"names no cloud|no readable|holds no"):
        ShapeSource("none", path, "seven" if not packed else "clouds/ply_data_train0.h5#x").content()


def test_rows_with_normals(tmp_path: Path) -> None:
    normals = cloud(8) / np.linalg.norm(cloud(8), axis=1, keepdims=True)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["normal"], file["label"] = (
            cloud(1)[None],
            normals[None],
            np.zeros((1, 1), np.uint8),
        )
    source = ShapeSource("a", tmp_path / "a.h5", "0", up="y")
    shape = source.load()
    assert isinstance(shape, PointCloud) and shape.normals is not None
    np.testing.assert_allclose(shape.normals, normals[:, [0, 2, 1]] * [1, -1, 1], atol=1e-6)
    np.testing.assert_allclose(np.load(io.BytesIO(source.content())), np.hstack([cloud(1), normals]))


def test_row_that_is_not_finite_does_not_spoil_the_others(tmp_path: Path) -> None:
    clouds = np.stack([cloud(k) for k in range(3)])
    clouds[1, 5, 2], clouds[2] = np.inf, np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = clouds, np.zeros((3, 1), np.uint8)
    with pytest.warns(ShapeWarning, match=r"a\.h5/1: 1 of 32 points are not finite"):
        holed = ShapeSource("b", tmp_path / "a.h5", "1").load()
    assert isinstance(holed, PointCloud) and len(holed.points) == 31
    with pytest.raises(ShapeError, match=r"a\.h5/2: none of 32 points is finite"):
        ShapeSource("c", tmp_path / "a.h5", "2").load()
    assert ShapeSource("a", tmp_path / "a.h5", "0").load() is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.off")
    with pytest.raises(ShapeError, match=r"a\.off is no regular file"):
        ShapeSource("a", tmp_path / "a.off").content()


def test_gltf_finds_the_file_beside_it(tmp_path: Path) -> None:
    corners = np.eye(3, dtype="<f4")
    (tmp_path / "numbers.bin").write_bytes(corners.tobytes())
    (tmp_path / "a.gltf").write_text(
        json.dumps(
            {
                "asset": {"version": "2.0"},
                "buffers": [{"uri": "numbers.bin", "byteLength": 36}],
                "bufferViews": [{"buffer": 0, "byteLength": 36}],
                "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
                "nodes": [{"mesh": 0}],
                "scenes": [{"nodes": [0]}],
                "scene": 0,
            }
        )
    )
    source = ShapeSource("a", tmp_path / "a.gltf")
    assert isinstance(source.load(), Mesh) and isinstance(source.parse(source.content()), Mesh)


def test_missing(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(ShapeError, match=r"nothing\.off cannot be read"):
        ShapeSource("a", tmp_path / "nothing.off").content()
    with pytest.raises(ShapeError, match=r"boxes\.zip holds no boxes/other\.off"):
        ShapeSource("a", archive, "boxes/other.off").load()
    with pytest.raises(ShapeError, match=r"nothing\.zip cannot be read"):
        ShapeSource("a", tmp_path / "nothing.zip", "a.off").content()


def test_damaged_member(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[60:70] = bytes(10)
    archive.write_bytes(content)
    with pytest.raises(ShapeError, match=r"boxes\.zip/boxes/ein Stück\.off cannot be read"):
        in_archive(archive).content()


def test_truncated_archive(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(ShapeError, match=r"boxes\.zip.*cannot be read \(File is not a zip file\)"):
        in_archive(archive).content()


def test_archive_that_was_changed_is_opened_anew(archive: Path) -> None:
    assert in_archive(archive).content() == BOX
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("boxes/ein Stück.off", b"another")
    os.utime(archive, ns=(1, 1))
    assert in_archive(archive).content() == b"another"


def test_archive_opened_before_a_fork(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("no fork here")
    contents = [bytes([k]) * 20_000 for k in range(40)]
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as file:
        for k, content in enumerate(contents):
            file.writestr(f"{k}.off", content)
    sources = [ShapeSource(str(k), path, f"{k}.off") for k in range(40)]
    assert sources[0].content() == contents[0]
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        # One position in one file for several processes would mix the members up.
        assert list(pool.map(ShapeSource.content, sources)) == contents


def test_source_goes_to_another_process(archive: Path) -> None:
    source = in_archive(archive)
    assert pickle.loads(pickle.dumps(source)) == source
