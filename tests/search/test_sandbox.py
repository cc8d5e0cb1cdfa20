"""Tests of the processes in which files of strangers are read."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchot.search.prepare import FrameError, prepare_bytes, prepare_source, read_frame, write_frame
from batchot.search.records import QueryRefused, SearchError
from batchot.search.sandbox import Limits, Sandbox
from batchot.shapes.library import generate_shape
from batchot.shapes.source import ShapeSource
from batchot.towers.spec import Inputs
from search_support import fuzzed, made_to_harm, off_bytes
from shape_folders import write_off

VIEWS = {
    "cameras": "box-6",
    "size": 24,
    "channels": ["shaded"],
    "antialias": 1,
    "background": 255,
    "up": "auto",
}
INPUTS = Inputs.from_json({"shape": {**VIEWS, "fit": None}, "drawing": {"size": 24}})
CLOUDS = Inputs.from_json({"shape": {"points": 64, "too_few": "repeat"}, "drawing": None})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    limits = Limits(time=10, memory=512 << 20, bytes=4 << 20, faces=100_000)
    with Sandbox(INPUTS, processes=2, limits=limits) as made:
        yield made


def test_the_same_as_without_it(sandbox: Sandbox) -> None:
    data = off_bytes("stairs")
    here, there = (
        prepare_bytes(data, "a.off", INPUTS),
        sandbox.prepare_bytes(data, "a.off", thumbnail=True, preview=True),
    )
    np.testing.assert_array_equal(here.sample, there.sample)
    assert (here.content, here.kind, here.faces, here.size) == (
        there.content,
        there.kind,
        there.faces,
        there.size,
    )
    assert there.thumbnail[8:12] == b"WEBP" and there.preview[:4] == b"glTF"


def test_triangles_over_each_other_are_refused_before_they_are_drawn() -> None:
    corners = np.random.default_rng(0).random((120_000, 3))  # ten thousand times over what they cover
    records = np.zeros(40_000, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("byte", "<u2")]))
    records["corners"] = corners.reshape(-1, 3, 3)
    data = bytes(80) + np.uint32(40_000).tobytes() + records.tobytes()
    with pytest.raises(
        QueryRefused, match=r"40,000 triangles that cover it \d,\d+ times over, the limit is 2,000"
    ):
        prepare_bytes(data, "a.stl", INPUTS)


def test_the_extents_are_those_of_the_file() -> None:
    moved = b"OFF\n3 1 0\n10 20 30\n14 20 30\n10 22 31\n3 0 1 2\n"
    assert prepare_bytes(moved, "a.off", INPUTS).size == (4.0, 2.0, 1.0)


@pytest.mark.parametrize("inputs", [INPUTS, CLOUDS], ids=["views", "clouds"])
def test_a_file_gives_what_the_data_sets_give(tmp_path: Path, inputs: Inputs) -> None:
    from batchot.data.cloud_reading import read_cloud
    from batchot.shapes.views.settings import render_source
    from batchot.towers.spec import ViewsInput

    write_off(tmp_path / "a.off", "airplane", 3)
    np.save(tmp_path / "b.npy", np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    for file in ("a.off", "b.npy"):
        source = ShapeSource(file, tmp_path / file)
        if isinstance(inputs.shape, ViewsInput):
            expected: np.ndarray = render_source(source, inputs.shape.settings)
        else:
            expected = read_cloud(source, inputs.shape.settings)
        np.testing.assert_array_equal(prepare_source(source, inputs).sample, expected)


@pytest.mark.parametrize("name", list(made_to_harm()), ids=lambda name: repr(name[:20]))
def test_what_was_made_to_harm_is_refused_with_a_reason(sandbox: Sandbox, name: str) -> None:
    before = _memory()
    with pytest.raises(QueryRefused) as refused:
        sandbox.prepare_bytes(made_to_harm()[name], name)
    text = str(refused.value)
    assert len(text) > 20 and len(text) < 1500
    assert (
        "etc" not in text and "/" not in text.split(":")[0]
    )  # no folder of a request is told, let alone looked at
    assert _memory() - before < 300 << 20
    assert sandbox.prepare_bytes(off_bytes(), "a.off").what == "shape"


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_thousand_files_of_a_fuzzer(sandbox: Sandbox) -> None:
    before, refused, taken = _memory(), 0, 0
    for name, data in fuzzed(1000):
        try:
            prepared = sandbox.prepare_bytes(data, name)
        except QueryRefused as error:
            assert len(str(error)) > 15, name
            assert error.reason in ("format", "damaged", "memory", "blank", "size", "time")
            refused += 1
        else:  # a change that left the file sound
            assert np.isfinite(prepared.sample).all() and all(np.isfinite(prepared.size))
            taken += 1
    assert refused + taken == 1000
    assert refused > 500 and taken > 20
    assert _memory() - before < 200 << 20
    assert sandbox.prepare_bytes(off_bytes(), "a.off").what == "shape"


def test_limits_on_size_and_faces(sandbox: Sandbox) -> None:
    with pytest.raises(QueryRefused, match="limit is 4,194,304") as refused:
        sandbox.prepare_bytes(b"0 0 0\n" * 1_000_000, "many.xyz")
    assert refused.value.reason == "size"
    with pytest.raises(QueryRefused, match="limit is 100,000"):
        sandbox.prepare_bytes(b"0 0 0\n1 1 1\n" * 60_000, "points.xyz")


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_what_takes_too_long_is_stopped() -> None:
    rng = np.random.default_rng(0)
    text = "\n".join(f"{a:.4f} {b:.4f} {c:.4f}" for a, b, c in rng.normal(size=(150_000, 3)))
    with Sandbox(INPUTS, processes=1, limits=Limits(time=0.15)) as quick:
        quick.warm_up()
        start = time.monotonic()
        with pytest.raises(QueryRefused, match=r"longer than 0\.15 s") as refused:
            quick.prepare_bytes(text.encode(), "slow.xyz")
        assert refused.value.reason == "time"
        assert time.monotonic() - start < 5
        quick.warm_up()  # or the limit would be for its imports too, which a busy machine does not do in 0.15 s
        assert quick.prepare_bytes(b"0 0 0\n1 1 1\n1 0 0\n", "a.xyz").kind == "cloud"  # by a fresh process


def test_what_takes_too_much_memory_is_stopped() -> None:
    n = 400_000
    mesh = b"OFF\n%d %d 0\n" % (n, n) + b"0.5 0.25 0.125\n1 2 3\n" * (n // 2) + b"3 0 1 2\n" * n
    with Sandbox(INPUTS, processes=1, limits=Limits(memory=24 << 20)) as small:
        with pytest.raises(QueryRefused) as refused:
            small.prepare_bytes(mesh, "large.off")
        assert refused.value.reason == "memory", str(refused.value)
        assert small.prepare_bytes(b"0 0 0\n1 1 1\n1 0 0\n", "a.xyz").kind == "cloud"


def test_a_process_that_dies_takes_nothing_along(sandbox: Sandbox) -> None:
    sandbox.warm_up()
    for reader in sandbox.readers:
        process = reader.start().process
        process.kill()
        process.wait()
    assert sandbox.prepare_bytes(off_bytes(), "a.off").what == "shape"


def test_many_threads_at_once(sandbox: Sandbox) -> None:
    results: list[object] = []

    def ask(k: int) -> None:
        try:
            results.append(
                sandbox.prepare_bytes(off_bytes("bottle", k % 3) if k % 2 else b"\x80\x04no", f"{k}.off")
            )
        except QueryRefused as error:
            results.append(error)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, QueryRefused) for result in results) == 12
    assert len(results) == 24


def test_kinds_are_kept_apart(sandbox: Sandbox) -> None:
    picture = made_to_harm()["blank.png"]
    with pytest.raises(QueryRefused, match="is a picture, not a shape"):
        sandbox.prepare_bytes(picture, "a.off", "shape")
    with pytest.raises(QueryRefused, match="is a shape, not a picture"):
        sandbox.prepare_bytes(off_bytes(), "a.png", "drawing")
    with pytest.raises(QueryRefused, match="blank") as refused:
        sandbox.prepare_bytes(picture, "a.png")
    assert refused.value.reason == "blank"
    with Sandbox(CLOUDS, processes=1) as shapes_only, pytest.raises(QueryRefused, match="takes shapes only"):
        shapes_only.prepare_bytes(picture, "a.png")


def test_no_path_is_taken_from_strangers(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="takes no paths"):
        list(sandbox.prepare_sources([ShapeSource("a", Path("/etc/passwd"))]))


def test_many_files_some_of_them_bad(tmp_path: Path) -> None:
    sources = []
    for k in range(12):
        path = tmp_path / f"{k}.off"
        write_off(path, "bottle", k)
        if k % 4 == 3:
            path.write_bytes(b"OFF\nbroken")
        sources.append(ShapeSource(str(k), path))
    sources.append(ShapeSource("gone", tmp_path / "gone.off"))
    with Sandbox(INPUTS, processes=2, files=True) as files:
        results = {sources[k].name: result for k, result in files.prepare_sources(sources)}
        refused = {name for name, result in results.items() if isinstance(result, QueryRefused)}
        assert refused == {"3", "7", "11", "gone"}
        assert all(str(tmp_path) in str(results[name]) for name in refused)
        again = files.prepare_sources(sources)
        next(again)
        again.close()  # an interruption: the others are let go
    with pytest.raises(SearchError, match="closed"):
        files.prepare_bytes(b"0 0 0\n1 1 1\n", "a.xyz")


def test_previews_are_small_and_upright() -> None:
    import trimesh

    from batchot.search.prepare import MOST_FACES, make_preview
    from batchot.shapes.shape import Mesh

    sphere = trimesh.creation.icosphere(5)  # 20,480 faces
    tall = Mesh(np.asarray(sphere.vertices) * [0.2, 0.2, 1.0], np.asarray(sphere.faces))
    read = trimesh.load(trimesh.util.wrap_as_stream(make_preview(tall)), file_type="glb", force="mesh")
    assert len(read.faces) <= MOST_FACES
    assert read.extents[1] == pytest.approx(2.0, abs=0.05)  # glTF's y is up
    soup = generate_shape("airplane", 1)
    assert len(make_preview(soup)) < 300_000


def test_frames_of_a_process_that_cannot_be_trusted() -> None:
    import io

    good = io.BytesIO()
    write_frame(good, {"a": [1, None, "é"]}, [b"", b"xyz"])
    whole = good.getvalue()
    assert read_frame(io.BytesIO(whole), 10) == ({"a": [1, None, "é"]}, [b"", b"xyz"])
    for bad in (b"", whole[:-1], b"X" + whole[1:], whole[:4] + b"\xff" * 12 + whole[16:], os.urandom(64)):
        with pytest.raises(FrameError):
            read_frame(io.BytesIO(bad), 10)
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(whole), 2)  # more bytes than were agreed


_COMPILED = """
import gc, sys, warnings
from numba.core.dispatcher import Dispatcher
from batchot.search.prepare import Inputs, prepare_bytes
from batchot.search.sandbox_worker import _warm_up
from oracles import cad_files, shape_files as files

def loops():
    found = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.py_func.__module__.startswith("batchot.")]
    return {(d.py_func.__module__, d.py_func.__name__, str(s)) for d in found for s in d.signatures}

warnings.simplefilter("ignore")
inputs = Inputs.from_json(eval(sys.argv[1]))
_warm_up(inputs)
before = loops()
made = {"off": files.off(), "obj": files.obj(), "stl": files.stl_binary(), "text.stl": files.stl_text(),
        "ply": files.ply_binary(), "big.ply": files.ply_binary(">"), "text.ply": files.ply_text(), "cloud.ply":
        files.ply_cloud(), "glb": files.glb(), "pcd": files.pcd("ascii"), "binary.pcd": files.pcd("binary"),
        "xyz": files.text_cloud(), "step": cad_files.step(), "two.step": cad_files.step([(0, 0, 0), (9, 0, 0)]),
        "igs": cad_files.iges(), "3mf": cad_files.threemf(), "dae": cad_files.dae()}
for name, content in made.items():
    try:
        prepare_bytes(content, f"a.{name}", inputs, thumbnail=True, preview=True)
    except Exception as error:
        assert "batchot[" in str(error), (name, error)  # the extra is missing
    assert loops() == before, (name, loops() - before)
print(len(before), "loops")
"""


def test_all_loops_of_the_readers_are_compiled_before_the_limits() -> None:
    """What is compiled later is kept nowhere, and takes some of the seconds that a file has."""
    ran = subprocess.run(
        [sys.executable, "-c", _COMPILED, repr({"shape": VIEWS, "drawing": None})],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0 and ran.stdout.endswith(" loops\n"), ran.stderr[-2000:]


def test_a_loop_that_cannot_be_kept_is_compiled_all_the_same(tmp_path: Path) -> None:
    code = (
        "import resource, numba; from batchot.search import sandbox_worker as w\n"
        "@numba.njit(cache=True)\ndef f(x): return x + 1\n"
        "w._limit({'files': False, 'memory_limit': 1 << 30}); print(f(1))"
    )
    script = tmp_path / "loop.py"
    script.write_text(code)
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert ran.stdout == "2\n", ran.stderr[-2000:]


def test_hostile_files_of_cad_formats() -> None:
    """A sample of what benchmarks/hostile_cad.py reads in thousands."""
    pytest.importorskip("cascadio")
    import runpy

    script = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "hostile_cad.py"))
    found = script["run"](36, seed=1, processes=1, ways=(0, 4, 5))  # changed bytes crash OpenCASCADE
    assert sum(sum(counts.values()) for counts in found.values()) == 36
    assert all(counts["damaged"] + counts["format"] > 3 for counts in found.values())
