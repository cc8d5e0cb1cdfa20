from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes import ShapeError
from batchot.shapes.formats.obj import read_obj
from oracles.shape_files import BOX, TRIANGLES, obj

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
FANS = [[0, 1, 2], [0, 2, 3]]


def test_box() -> None:
    mesh = read_obj(obj())
    assert np.array_equal(mesh.vertices, BOX) and np.array_equal(mesh.faces, TRIANGLES)


@pytest.mark.parametrize(
    "text",
    [
        SQUARE + "f 1 2 3 4\n",
        SQUARE + "f 1/1 2/2 3/3 4/4",
        SQUARE + "f 1//9 2//9 3//9 4//9",
        SQUARE + "f 1/1/1 2/2/2 3/3/3 4/4/4 # a comment\n",
        SQUARE + "f -4 -3 -2 -1\n",
        SQUARE + "f -4/-4 -3/-3 -2/-2 -1/-1\nv 9 9 9\n",  # counted from its line, not from the end
        SQUARE + "f 1 2 3\nf 1 3 4\nf 1 2\nl 1 2 3\np 1\n",
        SQUARE + "f 1 2 \\\n 3 4\n",
        SQUARE + "fo 1 2 3 4\n",
        SQUARE + "usemtl surf 1\ng surf\nf 1 2 3 4\nf\n",
        "f 1 2 3 4\n" + SQUARE,
        "mtllib missing.mtl\n# v 5 5 5\ng a\nusemtl b\ns off\n"
        + SQUARE
        + "vt 0 0\nvn 0 0 1\nvp 1\nf 1 2 3 4\n",
        SQUARE.replace("\n", " 1.0 255 0 0\n") + "f 1 2 3 4\n",
        "  " + SQUARE.replace(" ", "\t").replace("\n", "  \n\n ") + "\tf\t1\t2\t3\t4\t\n",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_variants(text: str, line_end: str) -> None:
    mesh = read_obj(text.replace("\n", line_end).encode())
    assert mesh.faces.tolist() == FANS
    assert mesh.vertices[:4].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SQUARE, r"no faces \(4 vertices\)"),
        ("v\n" + SQUARE + "f 1 2 3\n", "line 1: 'v' should be three coordinates"),
        (
            SQUARE + "f 1 2 3\n surf 0 1 0 1 1 2 3 4\nend\n",
            r"free-form surfaces \(surf\), which are not read",
        ),
        (SQUARE + "f 1 2 5\n", "line 5: 'f 1 2 5' .*there are 4 vertices"),
        (SQUARE + "f 1 2 0\n", "line 5"),
        (SQUARE + "f -5 -1 -2\n", "line 5"),
        (SQUARE + "f 1 2 x\n", "line 5"),
        (SQUARE + "f 1 2 3.5\n", "line 5"),
        (SQUARE + "f 1 2 99999999999999999999999\n", "line 5"),
        ("v 0 0\n" + SQUARE + "f 1 2 3\n", "line 1: 'v 0 0' should be three coordinates"),
        ("v 0 0 zero\n" + SQUARE + "f 1 2 3\n", "line 1: 'zero' is not a number"),
        ("v 0 0 nan\n" + SQUARE + "f 1 2 3\n", "all 1 faces have corners that are not finite"),
    ],
)
def test_damaged(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_obj(text.encode())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_same_as_trimesh(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, m = generator.integers(3, 30, 2)
    vertices = "".join(
        "v " + " ".join(f"{x:.7g}" for x in row) + " \n" for row in generator.normal(size=(n, 3))
    )
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in generator.integers(1, n + 1, (m, 3)))
    text = (vertices + faces).encode()
    ours = read_obj(text)
    theirs = trimesh.load_mesh(io.BytesIO(text), file_type="obj", process=False, maintain_order=True)
    assert np.array_equal(ours.vertices, theirs.vertices) and np.array_equal(ours.faces, theirs.faces)
