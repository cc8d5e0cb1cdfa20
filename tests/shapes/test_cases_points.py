"""Files of public bug reports: text numbers, points, folders, what is not finite, centre and scale.

Each of the conditions was once read silently wrong, or a good file was refused; the polygons and headers of the same
table are in ``test_cases_meshes.py``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from batchot.data.sets.shape_folder import collection_of
from batchot.shapes import (
    Mesh,
    PointCloud,
    ShapeError,
    ShapeWarning,
    load_shape,
    normalize_shape,
    read_shape,
    sample_surface,
)
from batchot.shapes.normalize import face_normals
from batchot.shapes.render.render import render_views
from oracles.shape_files import (
    BOX,
    TRIANGLES,
    gltf_buffer,
    gltf_tree,
    npy,
    obj,
    off,
    pcd,
    ply_header,
    ply_text,
    stl_text,
)
from oracles.shape_files import cloud as random_cloud

POINTS = np.round(random_cloud(60)[0].astype(float), 2)


def area(shape: object) -> float:
    assert isinstance(shape, Mesh)
    return 0.5 * float(np.linalg.norm(face_normals(shape.vertices, shape.faces), axis=1).sum())


def points_of(content: bytes, ending: str = ".xyz") -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shape = read_shape(content, ending, "cloud", normalize=False)
    assert isinstance(shape, PointCloud)
    return shape.points


def table(
    separator: str, header: str = "", points: NDArray[np.float64] = POINTS, comma: bool = False
) -> bytes:
    rows = [separator.join(f"{x:.2f}".replace(".", "," if comma else ".") for x in row) for row in points]
    return "\n".join([*([header] if header else []), *rows, ""]).encode()


# --- byte-order marks, in every format of text ---------------------------------------------------------------------


def pcd_box() -> bytes:
    return pcd("ascii")


TEXTS = {
    ".obj": obj, ".off": off, ".ply": ply_text, ".stl": stl_text, ".pcd": pcd_box,
    ".csv": lambda: table(",", "x,y,z"), ".xyz": lambda: table(" "),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", [".obj", ".off", ".ply", ".stl", ".pcd", ".csv", ".xyz"])
def test_byte_order_marks(ending: str, encoding: str) -> None:
    content = TEXTS[ending]()
    text = content.decode() if encoding != "utf-16-be" else "\ufeff" + content.decode()
    marked, plain = (
        read_shape(data, ending, "marked", normalize=False) for data in (text.encode(encoding), content)
    )
    if isinstance(plain, Mesh):
        assert isinstance(marked, Mesh) and np.array_equal(marked.vertices, plain.vertices)
        assert np.array_equal(marked.faces, plain.faces)
    else:
        assert isinstance(marked, PointCloud) and np.array_equal(marked.points, plain.points)


def test_mark_before_the_first_vertex_with_a_vertex_that_nothing_uses() -> None:
    content = obj().replace(b"# box\nmtllib nowhere.mtl\no box\n", b"") + b"v 9 9 9\n"
    assert content.startswith(b"v ")
    mesh = read_shape(b"\xef\xbb\xbf" + content, ".obj", "box", normalize=False)
    assert area(mesh) == pytest.approx(22)


@pytest.mark.parametrize("ending", [".obj", ".off", ".ply", ".stl", ".csv", ".xyz"])
def test_marks_that_were_written_twice_and_zeros_at_the_end(ending: str) -> None:
    plain = read_shape(TEXTS[ending](), ending, "it", normalize=False)
    for content in (b"\xef\xbb\xbf" * 2 + TEXTS[ending](), TEXTS[ending]() + bytes(9)):
        shape = read_shape(content, ending, "it", normalize=False)
        one, other = (s.vertices if isinstance(s, Mesh) else s.points for s in (shape, plain))
        assert np.array_equal(one, other)


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff"])
def test_marks_within_files_that_were_put_together(mark: str) -> None:
    content = f"# first\n{mark}".encode() + re.sub(rb"(?m)^(?![vf] ).*\n", b"", obj()) + b"v 9 9 9\n"
    assert area(read_shape(content, ".obj", "box", normalize=False)) == pytest.approx(22)
    rows = table(" ").splitlines(keepends=True)
    assert np.array_equal(points_of(b"".join([*rows[:7], mark.encode(), *rows[7:]])), POINTS)


def test_mark_before_json(tmp_path: Path) -> None:
    (tmp_path / "box.gltf").write_bytes(b"\xef\xbb\xbf" + json.dumps(gltf_tree("box.bin")).encode())
    (tmp_path / "box.bin").write_bytes(gltf_buffer())
    with pytest.warns(ShapeWarning, match="nearly blank"):  # two boxes that are far apart
        assert area(load_shape(tmp_path / "box.gltf", normalize=False)) == pytest.approx(22 + 4 * 22)


def test_mark_of_a_text_that_is_none() -> None:
    with pytest.raises(ShapeError, match="begins as UTF-16 text, but is none"):
        read_shape("1 2 3\n".encode("utf-16")[:-1], ".xyz", "odd")


# --- decimal commas ------------------------------------------------------------------------------------------------


def test_decimal_commas_in_obj() -> None:
    content = obj().replace(b".", b",").replace(b"nowhere,mtl", b"nowhere.mtl")
    assert b"v 0,0 0,0 3,0" in content
    assert area(read_shape(content, ".obj", "box", normalize=False)) == pytest.approx(22)


@pytest.mark.parametrize(("ending", "make"), [(".off", off), (".stl", stl_text), (".ply", ply_text)])
def test_decimal_commas_in_other_meshes(ending: str, make: object) -> None:
    content: bytes = make()  # type: ignore[operator]
    head, rest = (b"", content) if ending != ".ply" else content.split(b"end_header\n")
    content = head + (b"end_header\n" if head else b"") + rest.replace(b".0", b",0")
    assert b"3,0" in content
    assert area(read_shape(content, ending, "box", normalize=False)) == pytest.approx(22)


def test_commas_in_obj_that_separate_or_name() -> None:
    content = re.sub(
        rb"(?m)^v (\S+) (\S+) (\S+)$", rb"v \1, \2, \3", obj().replace(b"o box", b"o box 1,5 2,5")
    )
    assert b"v 0.0, 0.0, 3.0" in content
    assert area(read_shape(content, ".obj", "box", normalize=False)) == pytest.approx(22)


@pytest.mark.parametrize("separator", [" ", ";", "\t", "; ", "  "])
@pytest.mark.parametrize("header", ["", "x{0}y{0}z"])
def test_decimal_commas_of_points(separator: str, header: str) -> None:
    text = table(separator, header.format(separator), comma=True)
    assert np.array_equal(points_of(text, ".csv"), POINTS)


@pytest.mark.parametrize("separator", [",", ", ", " ,", " , ", ";", " ", "\t"])
def test_decimal_points(separator: str) -> None:
    assert np.array_equal(points_of(table(separator)), POINTS)


def test_quoted_decimal_commas() -> None:
    rows = "".join(",".join(f'"{x:.2f}"'.replace(".", ",") for x in row) + "\n" for row in POINTS)
    assert np.array_equal(points_of(('"x","y","z"\n' + rows).encode(), ".csv"), POINTS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0,50,1,00,2,50\n1,50,2,00,3,50\n", 1),  # both: six numbers or three
        ("1,50, 2,50, 3,50\n", 1),
        ("1.5 2.5 3.5\n1,5 2,5 3,5\n", 1),
        ("1,5 2,5 3,5\n1.5 2.5 3.5\n", 2),
        ("1,5;2,5;3,5\n1;2;3\n1,000.5;2;3\n", 3),  # thousands
        ("1,000.5 2,000.5 3,000.5\n", 1),
        ("1 2 3\n1,2,3 4,5,6\n", 2),
        (",5;1,5;2,5\n1,5;2,5;3,5\n2,5;3,5;4,5\n", 1),
    ],
)
@pytest.mark.parametrize("ending", [".xyz", ".obj"])
def test_commas_that_may_be_either_are_refused_with_the_line(text: str, line: int, ending: str) -> None:
    if ending == ".obj":
        text = "".join(f"v {row}\n" for row in text.splitlines()) + "f 1 1 1\n"
    with pytest.raises(ShapeError, match=f"^it: line {line}: .* decimal"):
        read_shape(text.encode(), ending, "it")


# --- columns by their names ----------------------------------------------------------------------------------------

X, Y, Z = POINTS.T
NAMED = {
    "id first": ("id,x,y,z", ",", [np.arange(60), X, Y, Z]),
    "order": ("z;x;y", ";", [Z, X, Y]),
    "tabs, blanks in a name": ("Point ID\tX\tY\tZ", "\t", [np.arange(60), X, Y, Z]),
    "blanks": ("intensity z y x", " ", [Y * 0, Z, Y, X]),
    "quoted": ('"x","y","z"', ",", [X, Y, Z]),
    "quoted with separators": ('"a, b","x","y","z"', ",", [Y, X, Y, Z]),
    "comment": ("# r g b x y z", " ", [Z, Z, Z, X, Y, Z]),
    "slashes": ("//B;X;Y;Z", ";", [Y, X, Y, Z]),
    "commas above blanks": ("# x, y, z", " ", [X, Y, Z]),
    "units": ("t [s],X [mm],Y [mm],Z [mm]", ",", [Z, X, Y, Z]),
    "ParaView": ('"Intensity","Points:0","Points:1","Points:2"', ",", [Z, X, Y, Z]),
    "pandas": (",x,y,z", ",", [np.arange(60), X, Y, Z]),
    "other axes": ("vx,vy,vz,pos_x,pos_y,pos_z", ",", [Z, Z, Z, X, Y, Z]),
    "count below": ("x y z\n60", " ", [X, Y, Z]),
    "title above": ("my scan\nid x y z", " ", [np.arange(60), X, Y, Z]),
    "inches": ("z inch,x inch,y inch", ",", [Z, X, Y]),
    "metres": ("id;Z_meters;X_meters;Y_meters", ";", [np.arange(60), Z, X, Y]),
    "a slash before the unit": ("z/mm,x/mm,y/mm", ",", [Z, X, Y]),
    "braces": ("Z {m},X {m},Y {m}", ",", [Z, X, Y]),
    "hyphens": ("id,z-coordinate (mm),x-coordinate (mm),y-coordinate (mm)", ",", [np.arange(60), Z, X, Y]),
    "places": ("id,location_z,location_x,location_y", ",", [np.arange(60), Z, X, Y]),
    "the word behind": ("id,z_pos,x_pos,y_pos", ",", [np.arange(60), Z, X, Y]),
    "square brackets": ("s,points[0],points[1],points[2]", ",", [Z, X, Y, Z]),
    "alike but for the axis": ("scan.z.raw,scan.x.raw,scan.y.raw", ",", [Z, X, Y]),
    "surveyors": ("Point,Northing,Easting,Elevation", ",", [np.arange(60), Y, X, Z]),
    "a height besides": ("height,z,x,y", ",", [X, Z, X, Y]),
    "MATLAB": ("% z x y", " ", [Z, X, Y]),
    "no names of axes": ("east,north,height", ",", [X, Y, Z]),
    "numbers as pandas has them": ("0,1,2", ",", [X, Y, Z]),
}


@pytest.mark.parametrize("name", NAMED)
def test_columns_by_their_names(name: str) -> None:
    header, separator, columns = NAMED[name]
    rows = "\n".join(separator.join(f"{value:.2f}" for value in row) for row in np.column_stack(columns))
    assert np.array_equal(points_of(f"{header}\n{rows}\n".encode(), ".csv"), POINTS)


def test_normals_and_other_columns_by_their_names() -> None:
    text = "ny,label,nz,nx,z,y,x,colour\n0,chair leg,2,0,3,2,1,#ff0000\n0,,0,5,6,5,4,\n"
    cloud = read_shape(text.encode(), ".csv", "it", normalize=False)
    assert isinstance(cloud, PointCloud) and cloud.normals is not None and not cloud.notes
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.normals.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("row", ["\u200b0.5 1.5 2.5", "\u20ac0.5 1.5 2.5"])
def test_a_first_row_with_what_cannot_be_seen_is_no_title(row: str) -> None:
    with pytest.raises(ShapeError, match=r"line 1: .* is not a number"):
        points_of(f"{row}\n1.5 2.5 3.5\n2.5 3.5 5.5\n".encode())


def test_a_first_row_without_its_first_number_is_counted() -> None:
    with pytest.warns(ShapeWarning, match="1 of 61 points are not finite"):
        shape = read_shape(b",2.50,3.50\n" + table(","), ".csv", "it", normalize=False)
    assert isinstance(shape, PointCloud) and np.array_equal(shape.points, POINTS)


def test_names_of_rows_as_r_writes_them() -> None:
    text = '"x" "y" "z"\n' + "".join(f'"{k}" {a} {b} {c}\n' for k, (a, b, c) in enumerate(POINTS, 1))
    assert np.array_equal(points_of(text.encode(), ".txt"), POINTS)


def test_numbers_of_rows_without_a_name() -> None:
    rows = table(",", points=np.column_stack([np.arange(60), POINTS])).replace(b".00,", b",", 1)
    assert np.array_equal(points_of(rows, ".csv"), POINTS)
    cloud = points_of(table(",", points=np.column_stack([POINTS, np.arange(60)])), ".csv")
    assert np.array_equal(cloud, POINTS)


@pytest.mark.parametrize(
    "text", ["a,b,c,d\n1,2,3,4\n", ",0,1,2\n0,1,2,3\n", "x,y,z\n1,2,3,4\n", "C 1 2 3\nH 4 5 6\n"]
)
def test_names_that_do_not_tell(text: str) -> None:
    with pytest.raises(ShapeError, match=r"^it: line 2 has 4 columns, and their names are .* x, y and z"):
        read_shape(text.encode(), ".csv", "it")


# --- points and vertices that are not finite -----------------------------------------------------------------------

HOLES = POINTS.copy()
HOLES[7], HOLES[9, 1], HOLES[20] = np.nan, np.inf, (-np.inf, 0, np.nan)
KEPT = np.delete(POINTS, [7, 9, 20], axis=0)


def ply_points(order: str) -> bytes:
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    body = HOLES.astype(f"{order}f4").tobytes() if order else table(" ", points=HOLES)
    return ply_header(form, 60, 0) + body


def pcd_points(encoding: str) -> bytes:
    header = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 60\nHEIGHT 1\nDATA " + encoding.encode() + b"\n"
    return header + (table(" ", points=HOLES) if encoding == "ascii" else HOLES.astype("<f4").tobytes())


NOT_FINITE = {
    "xyz": (table(" ", points=HOLES), ".xyz"),
    "csv": (table(",", "x,y,z", HOLES), ".csv"),
    "csv, empty fields": (
        table(",", "x,y,z", HOLES).replace(b"nan", b"").replace(b"-inf", b"null").replace(b"inf", b"NA"),
        ".csv",
    ),
    "Windows": (table(" ", points=HOLES).replace(b"nan", b"-1.#IND").replace(b" inf", b" 1.#INF00"), ".txt"),
    "Excel": (
        table(",", "id,x,y,z", np.c_[np.arange(60), HOLES])
        .replace(b"nan", b"#N/A")
        .replace(b"-inf", b"#NUM!")
        .replace(b"inf", b"#DIV/0!"),
        ".csv",
    ),
    "decimal commas": (table(";", points=HOLES, comma=True), ".csv"),
    "ply": (ply_points(""), ".ply"),
    "binary ply": (ply_points("<"), ".ply"),
    "big-endian ply": (ply_points(">"), ".ply"),
    "pcd": (pcd_points("ascii"), ".pcd"),
    "binary pcd": (pcd_points("binary"), ".pcd"),
    "npy": (npy(HOLES), ".npy"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_points_that_are_not_finite_are_left_out_and_counted(name: str) -> None:
    content, ending = NOT_FINITE[name]
    with pytest.warns(ShapeWarning, match="^cloud: 3 of 60 points are not finite .* left out$"):
        shape = read_shape(content, ending, "cloud", normalize=False)
    assert isinstance(shape, PointCloud) and np.allclose(shape.points, KEPT, atol=1e-6)


def test_normals_go_with_their_points() -> None:
    normals = random_cloud(60)[1]
    with pytest.warns(ShapeWarning, match="3 of 60"):
        shape = read_shape(npy(np.hstack([HOLES, normals])), ".npy", "cloud", normalize=False)
    assert isinstance(shape, PointCloud) and shape.normals is not None
    assert np.allclose(shape.normals, np.delete(normals, [7, 9, 20], axis=0), atol=1e-6)


def test_hdf5_points_that_are_not_finite(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = HOLES[None].astype(np.float32), np.zeros((1, 1), np.uint8)
    with pytest.warns(ShapeWarning, match=r"a\.h5: 3 of 60 points"):
        shape = load_shape(tmp_path / "a.h5", normalize=False)
    assert isinstance(shape, PointCloud) and np.allclose(shape.points, KEPT, atol=1e-6)


@pytest.mark.parametrize("bad", ["nan nan nan", "0 inf 0", "1 1 -1e999"])
def test_vertex_that_is_not_finite_and_not_used(bad: str) -> None:
    content = obj() + f"v {bad}\n".encode()
    with pytest.warns(ShapeWarning, match="^box: 1 of 9 vertices are not finite"):
        mesh = read_shape(content, ".obj", "box", normalize=False)
    assert area(mesh) == pytest.approx(22)


@pytest.mark.parametrize(("ending", "make"), [(".obj", obj), (".off", off), (".ply", ply_text)])
def test_faces_that_use_a_vertex_that_is_not_finite_are_left_out_and_counted(
    ending: str, make: object
) -> None:
    content: bytes = make()  # type: ignore[operator]
    content = content.replace(b"0.0 2.0 3.0", b"nan nan nan")
    faces = (TRIANGLES == 3).any(axis=1).sum()
    with pytest.warns(ShapeWarning, match=r"^box: \d of 12 faces have corners that are not finite"):
        mesh = read_shape(content, ending, "box", normalize=False)
    assert isinstance(mesh, Mesh) and len(mesh.faces) == 12 - faces and len(mesh.vertices) == 7
    assert np.isfinite(mesh.vertices).all()


def test_nothing_finite() -> None:
    with pytest.raises(ShapeError, match="none of 60 points is finite"):
        read_shape(npy(np.full((60, 3), np.nan)), ".npy", "cloud")
    with pytest.raises(ShapeError, match="all 1 faces have corners that are not finite"):
        read_shape(b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ".obj", "box")


# --- centre and scale ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [1e2, 1e4, 1e9, 1e30, 1e200])
@pytest.mark.parametrize("corners", ["9 9 9", "1 9 9", "9 10 11"])
def test_face_without_area_far_away(far: float, corners: str) -> None:
    more = f"v {far} {far} {far}\nv {2 * far} {2 * far} {2 * far}\nv {3 * far} {3 * far} {3 * far}\nf {corners}\n"
    with pytest.warns(ShapeWarning, match="^box: 1 of 13 faces have no area and reach beyond the others"):
        mesh = read_shape(obj() + more.encode(), ".obj", "box")
    plain = read_shape(obj(), ".obj", "box")
    assert isinstance(mesh, Mesh) and isinstance(plain, Mesh)
    assert np.array_equal(mesh.vertices, plain.vertices) and np.array_equal(mesh.faces, plain.faces)
    with pytest.warns(ShapeWarning):
        whole = read_shape(obj() + more.encode(), ".obj", "box", normalize=False)
    assert area(whole) == pytest.approx(22)


def test_face_without_area_within_the_others_changes_nothing() -> None:
    plain = normalize_shape(Mesh(BOX, TRIANGLES))
    with_flat = normalize_shape(Mesh(BOX, np.concatenate([TRIANGLES, [[0, 1, 1]]])))
    assert isinstance(plain, Mesh) and isinstance(with_flat, Mesh)
    assert np.array_equal(with_flat.vertices, plain.vertices) and len(with_flat.faces) == 13
    assert with_flat.notes == ()


def ball(radius: float, n: int = 2000) -> NDArray[np.float64]:
    points = np.random.default_rng(3).normal(size=(n, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def needle(width: float) -> Mesh:
    return Mesh(BOX / (1, 2, 3) * (width, width, 1), TRIANGLES)


def test_one_point_far_from_all_others() -> None:
    with pytest.warns(ShapeWarning, match=r"98 % of its 2,001 points are within 0.39 % of its width"):
        read_shape(npy(np.concatenate([ball(1), [[500, 0, 0]]])), ".npy", "cloud")
    for few in (np.concatenate([ball(1), [[6, 0, 0]]]), ball(1), ball(1) * (1, 0.01, 0.01)):
        assert normalize_shape(PointCloud(few)).notes == ()


def test_wire_thinner_than_a_pixel() -> None:
    shape = normalize_shape(needle(1e-4))
    assert len(shape.notes) == 1 and "thinner than a pixel" in shape.notes[0]
    assert normalize_shape(shape).notes == shape.notes  # said once
    assert normalize_shape(needle(0.02)).notes == ()
    seen, blank = (
        render_views(normalize_shape(needle(width)), "box-6", size=224) < 255 for width in (0.02, 1e-4)
    )
    assert blank.mean() < 1e-3 < seen.mean()


def test_tiny_surface_and_a_far_one() -> None:
    far = np.concatenate([BOX, BOX[:3] / 1000 + 900])
    shape = normalize_shape(Mesh(far, np.concatenate([TRIANGLES, [[8, 9, 10]]])))
    assert any("nearly blank" in note for note in shape.notes)


# --- folders -------------------------------------------------------------------------------------------------------


def fill(folder: Path) -> dict[str, bytes]:
    """Every kind of text that one file may have."""
    folder.mkdir(parents=True)
    files = {
        "header.csv": table(",", "x,y,z"), "semicolons.csv": table(";"), "plain.csv": table(","),
        "names.xyz": table(" ", "X Y Z"), "cloud.xyzn": table(" "), "cloud2.asc": table(" "), "tabs.tsv": table("\t"),
        "comment.txt": b"# exported\n" + table(" "), "count.pts": b"60\n" + table(" "),
        "CloudCompare.txt": b"//X Y Z\n60\n" + table(" "),
        "id.csv": table(",", "x,y,z,id", np.c_[POINTS, POINTS[:, 0]]),
        "commas.txt": table(" ", comma=True), "marked.txt": b"\xef\xbb\xbf" + table(" "),
        "wide.txt": table(" ").decode().encode("utf-16"), "box.txt": obj(), "UPPER.OBJ": obj(),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def test_a_folder_takes_what_a_single_file_may_be(tmp_path: Path) -> None:
    files = fill(tmp_path / "all" / "cup")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collection = collection_of(tmp_path / "all")
    sources = (*collection.train, *collection.test)
    assert {source.path.name for source in sources} == set(files) and collection.left_out == ()
    for source in sources:
        alone = load_shape(source.path)
        shape = source.load()
        one, other = (s.vertices if isinstance(s, Mesh) else s.points for s in (shape, alone))
        assert np.array_equal(one, other)
        (single,) = collection_of(source.path).train
        assert single.path == source.path


def test_only_tables_with_names(tmp_path: Path) -> None:
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "1.csv").write_bytes(table(",", "x,y,z"))
    (tmp_path / "chair" / "2.csv").write_bytes(table(";", "x;y;z", comma=True))
    assert len(collection_of(tmp_path)) == 2


def test_clouds_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    with h5py.File(tmp_path / "shapes" / "four.h5", "w") as file:
        file["data"], file["label"] = np.stack([POINTS] * 4).astype(np.float32), np.zeros((4, 1), np.uint8)
    for path in (tmp_path / "shapes", tmp_path / "shapes" / "four.h5"):
        collection = collection_of(path)
        assert [source.name for source in collection.train] == ["four#0", "four#1", "four#2", "four#3"]
        shape = collection.train[3].load()
        assert isinstance(shape, PointCloud) and len(shape.points) == 60


def test_notes_are_no_shapes_and_what_may_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.off").write_bytes(off())
    (tmp_path / "notes.txt").write_text("these are my parts\nand 3 more 1 2 3\n")
    (tmp_path / "labels.csv").write_text("file,label\na.off,3\n")
    with pytest.warns(UserWarning, match=r"2 files left out.*labels\.csv, notes\.txt"):
        collection = collection_of(tmp_path)
    assert len(collection) == 1 and collection.left_out == ()
    (tmp_path / "packed.obj.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "table.csv").write_text("area,volume,radius,mass\n1,2,3,4\n")
    with pytest.warns(
        UserWarning, match=r"2 files left out that may hold shapes.*packed\.obj\.gz, table\.csv"
    ):
        collection = collection_of(tmp_path)
    assert len(collection) == 1 and len(collection.left_out) == 2


def render(tmp_path: Path, path: Path) -> tuple[int, str]:
    arguments = ["render", str(path), "--cameras", "box-6", "--size", "16", "--processes", "1"]
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from batchot.cli import main; sys.exit(main(sys.argv[1:]))", *arguments],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def test_exit_status_and_remarks_of_render(tmp_path: Path) -> None:
    folder = tmp_path / "cup"
    folder.mkdir()
    (folder / "a.csv").write_bytes(table(",", "x,y,z"))
    (folder / "holes.xyz").write_bytes(table(" ", points=HOLES))
    (folder / "notes.txt").write_text("these are my parts\n")
    status, text = render(tmp_path, folder)
    assert status == 0 and "2 rendered now" in text
    assert "1 remarks:\n  holes: 3 of 60 points are not finite" in text
    (folder / "table.csv").write_text("area,volume,radius,mass\n1,2,3,4\n")
    status, text = render(tmp_path, folder)
    assert status == 1 and "2 were there" in text and "table.csv" in text


# --- a cloud has no surface ----------------------------------------------------------------------------------------


def test_no_surface_to_sample(tmp_path: Path) -> None:
    (tmp_path / "cloud.xyz").write_bytes(table(" "))
    with pytest.raises(ShapeError, match="a cloud of 60 points has no surface"):
        sample_surface(load_shape(tmp_path / "cloud.xyz"), 64)  # type: ignore[arg-type]
    assert sample_surface(Mesh(BOX, TRIANGLES), 64).points.shape == (64, 3)


# --- truncated is what just stops ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "ending", "truncated"),
    [
        (b"1 2 3\n4 5", ".xyz", True),
        (b"1 2 3\n4 5\n", ".xyz", False),
        (b"1 2 3\n4 5 6 7", ".xyz", False),
        (b"3\n1 2 3\n4 5 6\n", ".pts", True),
        (b"1\n1 2 3\n4 5 6\n", ".pts", False),
        (off()[:-12], ".off", True),
        (off() + b"3 0 1 2\n", ".off", False),
        (off().replace(b"4 0 4 5 1", b"4 0 4 5"), ".off", False),
        (b"v 0 0 0\nv 1 0 0\nv 0 1", ".obj", False),  # no faces at all
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nv 1 1", ".obj", True),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", ".obj", False),
        (npy(POINTS)[:-1], ".npy", True),
        (pcd("binary")[:-1], ".pcd", True),
        (pcd("ascii") + b"1 2 3 4 5 6 7\n", ".pcd", False),
        (ply_text()[:-20], ".ply", True),
    ],
)
def test_truncated_is_said_of_what_is(content: bytes, ending: str, truncated: bool) -> None:
    with pytest.raises(ShapeError) as caught:
        read_shape(content, ending, "it")
    assert ("truncated" in str(caught.value)) == truncated
