"""Rendering a collection: what is there stays, what fails is named, and nothing is ever half there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from batchot.files import ViewCacheError
from batchot.shapes.views.cache import ViewCache, read_failures
from batchot.shapes.views.render_all import render_collection
from batchot.shapes.views.settings import ViewSettings, render_source
from oracles.shape_sources import HostileSource, write_tetrahedra

SETTINGS = ViewSettings(cameras="box-6", size=24, antialias=1)

# What a user's script does; without a guard for the main module, which it need not have.
SCRIPT = """
import sys
from pathlib import Path
from batchot.shapes.views.render_all import render_collection
from batchot.shapes.views.settings import ViewSettings
from oracles.shape_sources import HostileSource
root, shapes, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sources = [HostileSource(path.stem, path, deed=sys.argv[4]) for path in sorted(shapes.rglob("*.off"))]
settings = ViewSettings(cameras="box-6", size=24, antialias=1)
cache = render_collection(
    sources, settings, root / "views", processes=processes, time_limit=float(sys.argv[5]), progress=False
)
print(len(cache), cache.n_rendered)
"""


def start_script(
    root: Path,
    shapes: Path,
    processes: int = 1,
    deed: str = "slow",
    time_limit: float = 60.0,
    prelude: str = "",
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            prelude + SCRIPT,
            str(root),
            str(shapes),
            str(processes),
            deed,
            str(time_limit),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.glob("views/*/??/*.npy")}


def children(process: subprocess.Popen[str]) -> set[int]:
    """Processes that this one has started and that are at work."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == process.pid:
            found.add(int(folder.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def render(sources: list, root: Path, **options: object) -> ViewCache:
    return render_collection(sources, SETTINGS, root / "views", progress=False, **{"processes": 1, **options})


def test_views_are_those_of_the_renderer_and_are_not_rendered_again(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 5)
    first = render(sources, tmp_path, processes=2)
    assert (len(first), first.n_rendered, first.failures) == (5, 5, ())
    for source in sources:
        np.testing.assert_array_equal(first.load(source), render_source(source, SETTINGS))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "views").rglob("*.npy")}

    shutil.move(tmp_path / "shapes", tmp_path / "moved")
    moved = [
        replace(
            source,
            name=f"new name {k}",
            path=tmp_path / "moved" / source.path.relative_to(tmp_path / "shapes"),
        )
        for k, source in enumerate(sources)
    ]
    renamed = moved[0].path.with_name("Stuhl größer 椅子.off")
    moved[0].path.rename(renamed)
    moved[0] = replace(moved[0], path=renamed)
    second = render(moved, tmp_path)
    assert (len(second), second.n_rendered) == (5, 0)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "views").rglob("*.npy")}

    unchanged = second.load(moved[1])
    moved[1].path.write_text(moved[1].path.read_text().replace("3 1 2 3", "3 0 2 3"))
    third = render(moved, tmp_path)
    assert third.n_rendered == 1
    np.testing.assert_array_equal(third.load(moved[1]), render_source(moved[1], SETTINGS))
    assert not np.array_equal(third.load(moved[1]), unchanged)


def test_equal_shapes_are_rendered_once_and_other_settings_and_axes_apart(tmp_path: Path) -> None:
    (source,) = write_tetrahedra(tmp_path, 1)
    copy = tmp_path / "copy.off"
    shutil.copy(source.path, copy)
    lying = replace(source, name="lying", path=copy, up="y")
    sources = [source, replace(source, name="twin", path=copy), lying]
    cache = render(sources, tmp_path)
    assert (len(cache), cache.n_files, cache.n_rendered) == (3, 2, 2)
    np.testing.assert_array_equal(cache.load(sources[0]), cache.load(sources[1]))
    assert not np.array_equal(cache.load(source), cache.load(lying))
    np.testing.assert_array_equal(cache.load(lying), render_source(lying, SETTINGS))


def test_bad_shapes_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    good = write_tetrahedra(tmp_path / "shapes", 4)
    text = good[0].path.read_text()
    bad = {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "not finite": "OFF\n3 1 0\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
        "a lie": "\x7fELF\x00\x01",
    }
    sources = list(good)
    for name, content in bad.items():
        path = tmp_path / "shapes" / f"{name}.off"
        path.write_text(content)
        sources.append(replace(good[0], name=name, path=path))
    sources.append(replace(good[0], name="gone", path=tmp_path / "gone.off"))
    os.mkfifo(tmp_path / "pipe.off")
    sources.append(replace(good[0], name="pipe", path=tmp_path / "pipe.off"))
    said: list[str] = []
    cache = render(sources, tmp_path, on_message=said.append)
    assert len(cache) == 4 and all(source in cache for source in good)
    assert [failure.name for failure in cache.failures] == [*bad, "gone", "pipe"]
    for failure, source in zip(cache.failures, sources[4:], strict=True):
        assert str(source.path) in failure.reason
        assert failure.kind == ("unreadable" if failure.name in ("gone", "pipe") else "shape")
    assert tuple(read_failures(cache.report)) == cache.failures
    assert any("6 failed" in line and str(cache.report) in line for line in cache.lines())
    with pytest.raises(ViewCacheError, match="gone"):
        cache.load(sources[-2])

    # One is mended: it is rendered, and the report says so.
    sources[4].path.write_text(text.replace("3 1 2 3", "3 0 2 3"))
    again = render(sources, tmp_path)
    assert again.n_rendered == 1 and read_failures(again.report)[0].name == "truncated"


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_shapes_that_kill_or_hold_their_process_lose_nothing_else(tmp_path: Path) -> None:
    good = write_tetrahedra(tmp_path / "shapes", 9)
    deeds = {2: "segfault", 4: "killed", 6: "hang", 7: "memory"}
    sources = [
        HostileSource(s.name, s.path, None, s.label, deed=deeds[k]) if k in deeds else s
        for k, s in enumerate(good)
    ]
    cache = render(sources, tmp_path, processes=2, time_limit=3.0)
    failed = {failure.name: failure for failure in cache.failures}
    assert list(failed) == [sources[k].name for k in deeds]
    assert len(cache) == 5
    assert [failure.kind for failure in cache.failures] == ["crash", "crash", "time", "crash"]
    reasons = [failure.reason for failure in cache.failures]
    assert (
        "SIGSEGV" in reasons[0] and "SIGKILL" in reasons[1] and "3 s" in reasons[2] and "memory" in reasons[3]
    )
    assert all(str(sources[k].path) in reason for k, reason in zip(deeds, reasons, strict=True))
    assert not list((cache.folder / "parts").iterdir())

    said: list[str] = []
    started = time.monotonic()
    known = render(sources, tmp_path, time_limit=3.0, on_message=said.append)
    assert time.monotonic() - started < 1.0 and "not tried again" in said[0]
    assert known.failures == cache.failures
    # With their honest contents, and asked to try again, they are rendered.
    assert not render(good, tmp_path, retry_failed=True).failures
    assert not cache.report.exists()


def test_a_process_that_dies_once_and_a_library_that_prints_do_no_harm(tmp_path: Path) -> None:
    one, two = write_tetrahedra(tmp_path / "shapes", 2)
    once = HostileSource(one.name, one.path, deed="killed once")
    loud = HostileSource(two.name, two.path, deed="print")
    cache = render([once, loud], tmp_path)
    assert len(cache) == 2 and not cache.failures
    np.testing.assert_array_equal(cache.load(loud), render_source(two, SETTINGS))


MANY = 60  # shapes: more than are drawn before a busy machine looks whether some are there


def test_killed_half_way_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", MANY)
    undisturbed = start_script(tmp_path / "a", tmp_path / "shapes")
    process = start_script(tmp_path / "b", tmp_path / "shapes")
    try:
        wait_until(lambda: len(files(tmp_path / "b")) >= 3)
        workers = children(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = files(tmp_path / "b")
        assert 3 <= len(done) < MANY
        out, error = undisturbed.communicate(timeout=120)
        assert out.split() == [str(MANY)] * 2, error
    finally:
        process.kill()
        undisturbed.kill()
    assert workers
    wait_until(lambda: not any(map(is_alive, workers)))  # once they notice that nobody listens
    half = len(files(tmp_path / "b"))
    assert half <= len(done) + 1
    cache = render(sources, tmp_path / "b")
    assert (len(cache), cache.n_rendered) == (MANY, MANY - half)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def interrupt(process: subprocess.Popen[str], *, once: Callable[[], bool]) -> None:
    """Press Ctrl-C at some moment: the script and both its workers end."""
    try:
        wait_until(once)
        workers = children(process)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in error
    assert len(workers) == 2 and not any(map(is_alive, workers))


def test_interrupted_it_stops_all_processes_and_goes_on_later(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", MANY)
    process = start_script(tmp_path, tmp_path / "shapes", processes=2)
    interrupt(process, once=lambda: len(files(tmp_path)) >= 2)
    assert not list((tmp_path / "views" / SETTINGS.digest / "parts").iterdir())
    there = len(files(tmp_path))
    assert 2 <= there < MANY
    cache = render(sources, tmp_path)
    assert (len(cache), cache.n_rendered) == (MANY, MANY - there)


def test_interrupted_it_does_not_wait_for_a_shape_that_hangs(tmp_path: Path) -> None:
    write_tetrahedra(tmp_path / "shapes", 2)
    process = start_script(tmp_path, tmp_path / "shapes", processes=2, deed="hang")
    interrupt(process, once=lambda: len(list(tmp_path.rglob("*.mark"))) == 2)


def test_killed_it_leaves_no_process_behind_that_hangs(tmp_path: Path) -> None:
    write_tetrahedra(tmp_path / "shapes", 1)
    process = start_script(tmp_path, tmp_path / "shapes", deed="hang", time_limit=4.0)
    wait_until(lambda: len(list(tmp_path.rglob("*.mark"))) == 1)
    workers = children(process)
    assert workers
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)), seconds=20)


def test_two_calls_at_once_share_the_work(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 12)
    processes = [start_script(tmp_path, tmp_path / "shapes") for _ in range(2)]
    results = [process.communicate(timeout=180) for process in processes]
    counts = [out.split() for out, _ in results]
    assert [count[0] for count in counts] == ["12", "12"], results
    # Each may render once more what the other is at, but not all of it.
    assert 12 <= sum(int(count[1]) for count in counts) < 24
    cache = render(sources, tmp_path, check=True)
    assert (len(cache), cache.n_rendered) == (12, 0)


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    # A file may not grow beyond 2000 bytes, as when the disk had no more: a file of views has 3616.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    write_tetrahedra(tmp_path / "shapes", 3)
    process = start_script(tmp_path, tmp_path / "shapes", prelude=limit)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        f"ViewCacheError: cannot write in the folder {tmp_path / 'views'}" in error.strip().splitlines()[-1]
    )
    left = [path for path in (tmp_path / "views").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} <= {".json"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "views").mkdir(mode=0o500)
    with pytest.raises(ViewCacheError, match="views"):
        render(write_tetrahedra(tmp_path / "shapes", 1), tmp_path)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "views").write_text("")
    with pytest.raises(ViewCacheError, match="views"):
        render(write_tetrahedra(tmp_path / "shapes", 1), tmp_path)


def test_damaged_files_are_noticed_and_rendered_again(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 4)
    cache = render(sources, tmp_path)
    truth = [cache.load(source) for source in sources]
    paths = [cache.path_of(source) for source in sources]

    def damage() -> None:
        for path in paths[1:3]:  # at their right size
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    damage()
    assert render(sources, tmp_path).n_rendered == 1  # the short one
    paths[3].unlink()
    for source, views in zip(sources, truth, strict=True):
        np.testing.assert_array_equal(cache.load(source), views)
    damage()
    assert render(sources, tmp_path, check=True).n_rendered == 2
    assert render(sources, tmp_path, check=True).n_rendered == 0
    damage()
    sources[1].path.write_text("OFF\n")
    with pytest.raises(ViewCacheError, match="changed"):
        cache.load(sources[1])


def test_what_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(ViewCacheError, match="no process that renders could be started"):
        render(write_tetrahedra(tmp_path / "shapes", 2), tmp_path)


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"time_limit": 0.0}])
def test_impossible_numbers_are_refused(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(ValueError, match="positive"):
        render([], tmp_path, **wrong)


def test_nothing_to_render_is_nothing(tmp_path: Path) -> None:
    cache = render([], tmp_path)
    assert (len(cache), cache.n_bytes, cache.failures) == (0, 0, ())
