from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from batchot.shapes import Mesh, PointCloud, Shape, ShapeError, load_shape, read_shape, sample_surface
from batchot.shapes.formats.read import ENDINGS, MAX_FACES
from oracles.shape_files import BOX, CLOUDS, MESHES, TRIANGLES, cloud, hdf5, off, pcd, ply_binary, stl_binary


def ending_of(name: str) -> str:
    return Path(name).suffix


def points_of(shape: Shape) -> np.ndarray:
    return shape.vertices if isinstance(shape, Mesh) else shape.points


@pytest.mark.parametrize("name", sorted(MESHES))
def test_every_mesh_format_gives_the_same_surface(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a box, 箱 {name}"
    path.write_bytes(MESHES[name])
    mesh = load_shape(path)
    assert isinstance(mesh, Mesh)
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1)
    if name == ".glb":
        return  # two boxes, which its own test looks at
    radius = np.linalg.norm(BOX.max(axis=0) / 2)
    expected = ((BOX - BOX.max(axis=0) / 2) / radius)[TRIANGLES]
    assert np.allclose(mesh.vertices[mesh.faces], expected, atol=1e-12)
    points = sample_surface(mesh, 500, seed=0).points * radius + BOX.max(axis=0) / 2
    on_a_side = np.isclose(points, 0, atol=1e-9) | np.isclose(points, BOX.max(axis=0), atol=1e-9)
    assert on_a_side.any(axis=1).all()


@pytest.mark.parametrize("name", sorted(CLOUDS))
def test_every_cloud_format_gives_the_same_points(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"cloud{name}"
    path.write_bytes(CLOUDS[name])
    shape = load_shape(str(path), normalize=False)
    points, normals = cloud()
    assert isinstance(shape, PointCloud) and shape.normals is not None
    assert np.allclose(shape.points, points, atol=1e-6) and np.allclose(shape.normals, normals, atol=1e-6)


@pytest.mark.parametrize(
    "called", [".off", ".obj", ".stl", ".ply", ".glb", ".npy", ".pcd", ".xyz", ".h5", ".dat", ""]
)
@pytest.mark.parametrize("name", [*sorted(MESHES), *sorted(set(CLOUDS) - {".xyz"})])
def test_content_decides_where_the_ending_lies(name: str, called: str) -> None:
    content = {**MESHES, **CLOUDS}[name]
    assert np.array_equal(
        points_of(read_shape(content, called, "x")), points_of(read_shape(content, ending_of(name), "x"))
    )


def test_y_up() -> None:
    mesh = read_shape(off(), ".off", "box", up="y", normalize=False)
    assert isinstance(mesh, Mesh) and np.array_equal(mesh.vertices, BOX[:, [0, 2, 1]] * (1, -1, 1))
    shape = read_shape(CLOUDS[".npy"], ".npy", "cloud", up="y", normalize=False)
    points, normals = cloud()
    assert isinstance(shape, PointCloud) and shape.normals is not None
    assert np.array_equal(shape.points, points[:, [0, 2, 1]] * np.float32([1, -1, 1]))
    assert np.allclose(shape.normals, normals[:, [0, 2, 1]] * (1, -1, 1), atol=1e-6)
    with pytest.raises(ShapeError, match="up must be"):
        read_shape(off(), ".off", "box", up="x")  # type: ignore[arg-type]


def test_from_a_stream() -> None:
    assert isinstance(read_shape(io.BytesIO(off()), "OFF", "member of an archive"), Mesh)


DEGENERATE = {
    "all points the same": (b"OFF 3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2", "all 3 points are the same"),
    "one corner three times": (b"OFF 3 1 0\n0 0 0\n1 1 1\n5 6 7\n3 0 0 0", "all 1 points are the same"),
    "on a line": (b"OFF 3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2", "no area"),
}


@pytest.mark.parametrize("name", sorted(DEGENERATE))
@pytest.mark.parametrize("normalize", [True, False])
def test_degenerate(name: str, normalize: bool) -> None:
    content, message = DEGENERATE[name]
    with pytest.raises(ShapeError, match=f"^box.off: .*{message}"):
        read_shape(content, ".off", "box.off", normalize=normalize)


@pytest.mark.parametrize("ending", [*ENDINGS, ".foo"])
@pytest.mark.parametrize(
    "content", [b"", b" \n\n", b"\0" * 200, b"garbage", bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_shape(content: bytes, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    with pytest.raises(ShapeError) as caught:
        load_shape(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert ";" in str(caught.value)  # what is wrong; what to do


def test_other_files_are_called_by_their_name() -> None:
    for content, what in ((b"PK\x03\x04....", "zip"), (b"\x1f\x8b.....", "gzip"), (b"<html>", "HTML")):
        with pytest.raises(ShapeError, match=what):
            read_shape(content, ".off", "x")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"gone.off: cannot be read \(No such file"):
        load_shape(tmp_path / "gone.off")
    with pytest.raises(ShapeError, match="is a folder"):
        load_shape(tmp_path)
    with pytest.raises(ShapeError, match="no name of a file"):
        load_shape("a\0b.off")
    pipe = tmp_path / "pipe.off"
    os.mkfifo(pipe)
    with pytest.raises(ShapeError, match="a pipe or a device"):
        load_shape(pipe)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.off"
    path.write_bytes(off())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so the mode of the file is no test
    with pytest.raises(ShapeError, match=r"secret.off: cannot be read \(Permission denied\); check"):
        load_shape(path)


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "box.off"
    path.write_bytes(off())
    with pytest.raises(ShapeError, match=r"has 12 faces, the limit is 11; .*raise max_faces"):
        load_shape(path, max_faces=11)
    with pytest.raises(ShapeError, match=r"larger than the limit .*raise max_bytes"):
        load_shape(path, max_bytes=20)
    with pytest.raises(ShapeError, match="larger than the limit"):
        read_shape(io.BytesIO(off()), ".off", "stream", max_bytes=20)
    assert MAX_FACES >= 5_000_000


def test_member_of_what_has_none() -> None:
    with pytest.raises(ShapeError, match="has no members"):
        read_shape(off(), ".off", "box", member=0)
    with pytest.raises(ShapeError, match="has no member 9"):
        read_shape(hdf5(), ".h5", "clouds", member=9)


def test_one_triangle() -> None:
    mesh = read_shape(b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2", ".off", "triangle")
    assert isinstance(mesh, Mesh) and len(mesh.faces) == 1


@pytest.mark.parametrize("content", [ply_binary(), stl_binary(), pcd("binary")])
def test_the_content_is_not_changed(content: bytes) -> None:
    before = bytes(content)
    read_shape(content, "", "x")
    assert content == before
