"""Damaged files of every format: a ``ShapeError`` or a finite shape, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchot.shapes import Mesh, ShapeError, read_shape
from batchot.shapes.formats.read import ENDINGS
from oracles.shape_files import CLOUDS, MESHES, glb, gltf_tree

FILES = {**MESHES, **{f"cloud{name}": content for name, content in CLOUDS.items()}}
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROOM = 4 << 30  # bytes of address space beyond what the process has: a lying header asks for more


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Iterator[None]:
    resource = pytest.importorskip("resource", reason="memory can be limited on Unix only")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


def check(content: bytes, name: str) -> None:
    try:
        shape = read_shape(content, Path(name).suffix, name)
    except ShapeError as error:
        assert str(error).startswith(f"{name}: ") and len(str(error)) < 1000
        cause: BaseException | None = error
        while cause is not None:
            assert not isinstance(cause, MemoryError)
            cause = cause.__cause__
        return
    points = shape.vertices if isinstance(shape, Mesh) else shape.points
    assert np.isfinite(points).all() and len(points) > 0
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    if isinstance(shape, Mesh):
        assert shape.faces.min() >= 0 and shape.faces.max() < len(points)


@pytest.mark.parametrize("name", sorted(FILES))
@SETTINGS
@given(data=st.data())
def test_truncated(name: str, data: st.DataObject) -> None:
    content = FILES[name]
    check(content[: data.draw(st.integers(0, len(content) - 1))], name)


@pytest.mark.parametrize("name", sorted(FILES))
@SETTINGS
@given(data=st.data())
def test_bytes_changed(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    # Headers are where it hurts, so half of the changes are made there.
    where = st.one_of(st.integers(0, len(content) - 1), st.integers(0, min(len(content), 400) - 1))
    interesting = st.one_of(st.sampled_from([0, 255, 127, 128, *b"0123456789 \n-.xn"]), st.integers(0, 255))
    for position, value in data.draw(st.lists(st.tuples(where, interesting), min_size=1, max_size=6)):
        content[position] = value
    check(bytes(content), name)


@pytest.mark.parametrize("name", sorted(FILES))
@SETTINGS
@given(data=st.data())
def test_parts_repeated_removed_and_swapped(name: str, data: st.DataObject) -> None:
    content = FILES[name]
    a, b, c = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 3)))
    change = data.draw(st.sampled_from(["repeat", "remove", "swap"]))
    first, second = content[a:b], content[b:c]
    middle = {"repeat": first * 2 + second, "remove": second, "swap": second + first}[change]
    check(content[:a] + middle + content[c:], name)


@SETTINGS
@given(
    content=st.binary(max_size=300),
    ending=st.sampled_from(sorted(ENDINGS)),
)
def test_anything(content: bytes, ending: str) -> None:
    check(content, f"x{ending}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_entry_of_a_gltf_tree_replaced(data: st.DataObject) -> None:
    tree = gltf_tree(None)
    places: list[tuple[object, object]] = []

    def collect(entry: object) -> None:
        pairs = (
            entry.items() if isinstance(entry, dict) else enumerate(entry) if isinstance(entry, list) else ()
        )
        for key, value in pairs:
            places.append((entry, key))
            collect(value)

    collect(tree)
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(JSON)  # type: ignore[index]
    check(glb(tree), "x.glb")
