from __future__ import annotations

import struct

import numpy as np
import pytest

from batchot.shapes import ShapeError
from batchot.shapes.formats.stl import read_stl
from oracles.shape_files import BOX, TRIANGLES, stl_binary, stl_text


@pytest.mark.parametrize(
    "content", [stl_text(), stl_text().upper(), stl_text().replace(b"\n", b"\r\n"), stl_binary()]
)
def test_box(content: bytes) -> None:
    mesh = read_stl(content)
    assert np.array_equal(mesh.vertices[mesh.faces], BOX[TRIANGLES])


def test_several_solids_in_one_file() -> None:
    mesh = read_stl(stl_text() + stl_text())
    assert np.array_equal(mesh.vertices[mesh.faces], np.concatenate([BOX[TRIANGLES]] * 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stl_binary()[:-1], "announces 12 triangles, which take 684 bytes.* has 683"),
        (bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50), "announces 4,294,967,295 triangles"),
        (bytes(84), "no faces"),
        (bytes(10), "is 10 bytes long"),
        (stl_text()[:-20], "ends within facet 12; .* truncated"),
        *((stl_text()[:length], "truncated") for length in (12, 16, 30, 60, 100, 500, -12, -13, -20, -30)),
        (stl_text().replace(b"vertex 1.0 0.0 0.0", b"vertex one 0.0 0.0"), "line 18: 'one' is not"),
        (
            stl_text().replace(b"vertex 1.0 0.0 0.0", b"vertx 1.0 0.0 0.0"),
            "line 18: 'vertx 1.0 0.0 0.0' does",
        ),
        (b"facet" + stl_text()[5:], "does not begin with solid"),
    ],
)
def test_damaged(content: bytes, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_stl(content)


def test_a_count_that_is_too_small_is_told() -> None:
    content = stl_binary()
    mesh = read_stl(content[:80] + struct.pack("<I", 6) + content[84:])
    assert len(mesh.faces) == 6 and "as of 6 more triangles" in mesh.notes[0]
    assert not read_stl(content + bytes(50)).notes
    with pytest.raises(ShapeError, match="announces 0 triangles, but 600 bytes follow"):
        read_stl(content[:80] + bytes(4) + content[84:])


def test_decimal_commas_in_capitals() -> None:
    mesh = read_stl(stl_text().replace(b".", b",").upper())
    assert np.array_equal(mesh.vertices[mesh.faces], BOX[TRIANGLES])
