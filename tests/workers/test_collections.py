"""The commands over Ray workers against the same on one machine: the same bits, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.data.clouds import Clouds, load_clouds
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.shape_files import ShapeCollection
from batchot.search.store import ShapeStore
from batchot.shapes.views.cache import ViewCache
from batchot.shapes.views.render_all import render_collection
from batchot.shapes.views.settings import ViewSettings
from batchot.workers.ray import ray_engine
from oracles.shape_sources import HostileSource, write_tetrahedra
from shape_folders import SMALL_RUN, write_folder

SETTINGS = ViewSettings(cameras="box-6", size=24, antialias=1)
VIEWS = ["--cameras=box-6", "--size=24", "--antialias=1"]
DEEDS = ("segfault", "hang", "memory", "killed once")
RAY = ["--engine=ray", "--workers=2"]


def hostile(root: Path, n: int, deed: str, seed: int = 0) -> list[HostileSource]:
    sources = write_tetrahedra(root, n, seed=seed)
    return [HostileSource(s.name, s.path, s.member, s.label, deed=deed) for s in sources]  # type: ignore[arg-type]


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*") if path.is_file()}


def views(cache: ViewCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.folder.glob("??/*.npy")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve shapes and a damaged one."""
    root = write_folder(tmp_path_factory.mktemp("collection") / "моё собрание", train=2, test=2)
    (root / "bottle" / "train" / "bad.off").write_text("OFF\n3 1 0\n0 0")
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        train = [
            "train",
            "shape-folder-scratch",
            f"--data-root={folder}",
            f"--out={root}/run",
            "--device=cpu",
        ]
        assert main([*train, *SMALL_RUN, "evaluation.batch=4"]) == 0
        yield root / "run"


def test_rendering_with_files_that_kill_or_hold_their_process(cluster: str, tmp_path: Path) -> None:
    good = write_tetrahedra(tmp_path / "good", 12)
    broken = write_tetrahedra(tmp_path / "broken", 1, seed=9)
    broken[0].path.write_text("OFF\n4 4 0\n0 0")
    bad = [hostile(tmp_path / deed, 1, deed, seed) for seed, deed in enumerate(DEEDS, 1)]
    named = [replace(source, name=f"bad {k}") for k, (source,) in enumerate([*bad, broken])]
    sources = [*good, *named]

    def render(where: str, **how: object) -> ViewCache:
        (tmp_path / "killed once" / "class_0" / "shape_0.mark").unlink(missing_ok=True)
        out = tmp_path / where
        return render_collection(sources, SETTINGS, out, time_limit=3.0, progress=False, **how)  # type: ignore[arg-type]

    alone = render("alone", processes=2)
    with ray_engine(workers=2) as engine:
        spread = render("spread", engine=engine)
    assert (len(spread), spread.n_rendered) == (len(alone), alone.n_rendered) == (13, 13)
    assert views(spread) == views(alone)
    assert spread.failures == alone.failures and len(alone.failures) == 4
    assert spread.report.read_bytes() == alone.report.read_bytes()
    assert not list((spread.folder / "parts").iterdir())


def test_rendering_goes_on_when_a_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    sources = hostile(tmp_path / "shapes", 24, "slow")
    told: list[str] = []
    with ray_engine(workers=2, tell=told.append) as engine:

        def kill_one() -> None:
            while not list((tmp_path / "spread").glob("*/??/*.npy")):
                time.sleep(0.01)
            (place, *_) = list(engine.places)
            os.kill(place.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        spread = render_collection(
            sources, SETTINGS, tmp_path / "spread", progress=False, engine=engine, time_limit=60.0
        )
        killer.join()
    alone = render_collection(
        write_tetrahedra(tmp_path / "shapes", 24), SETTINGS, tmp_path / "alone", progress=False
    )
    assert views(spread) == views(alone) and len(views(alone)) == 24
    assert not spread.failures and len(told) == 1


def test_embed(
    cluster: str,
    run: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {}
    for name, how in (("alone", []), ("spread", RAY)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        out = tmp_path / f"{name}.npz"
        assert main(["embed", str(run), str(folder), "--out", str(out), "--device=cpu", *how]) == 1
        said = capsys.readouterr()
        assert out.is_file(), said  # why Ray had no workers, or lost them
        told[name] = said.out.replace(name, "").replace("2 Ray workers on this machine\n", "")
    assert (tmp_path / "spread.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()
    assert told["spread"] == told["alone"] and "bad.off" in told["alone"]


def test_index(
    cluster: str, run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(out: Path, *how: str) -> str:
        assert main(["index", "build", str(run), str(folder), "--out", str(out), "--device=cpu", *how]) == 1
        return capsys.readouterr().out.replace(str(out), "")

    def rows(out: Path) -> object:
        with ShapeStore.open(str(out / "shapes")) as store:
            return store._table.to_arrow().sort_by("id")

    alone = build(tmp_path / "alone")
    assert build(tmp_path / "spread", *RAY).replace("2 Ray workers on this machine\n", "") == alone
    assert rows(tmp_path / "spread") == rows(tmp_path / "alone")
    # In two goes, which put other shapes together: the same numbers.
    hidden = folder / "airplane"
    hidden.rename(tmp_path / "airplane")
    try:
        build(tmp_path / "in two goes", *RAY)
    finally:
        (tmp_path / "airplane").rename(hidden)
    build(tmp_path / "in two goes")
    assert rows(tmp_path / "in two goes") == rows(tmp_path / "alone")
    assert main(["index", "verify", str(tmp_path / "spread")]) == 0


def test_clouds(cluster: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(where: str, **how: object) -> tuple[Clouds, Clouds]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / where))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load_clouds(load_collection("folder", folder), 64, progress=False, **how)  # type: ignore[arg-type]

    alone = load("alone")
    with ray_engine(workers=2) as engine:
        spread = load("spread", engine=engine)
    for one, other in zip(alone, spread, strict=True):
        assert one.points.equal(other.points) and one.names == other.names and one.failures == other.failures
    assert len(alone[0].failures) == 1
    assert files(tmp_path / "alone") == files(tmp_path / "spread")


def test_a_mesh_that_kills_the_worker_that_samples_it(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fatal = replace(hostile(tmp_path / "fatal", 1, "killed", seed=1)[0], name="fatal")
    sources = (*write_tetrahedra(tmp_path / "good", 4, n_classes=1), fatal)
    collection = ShapeCollection("some", ("class_0",), sources, (), "meshes", tmp_path)
    with (
        ray_engine(workers=2) as engine,
        pytest.warns(UserWarning, match="1 of 5 shapes of some cannot be read"),
    ):
        train, _ = load_clouds(collection, 16, progress=False, engine=engine)
    assert train.names == tuple(source.name for source in sources[:4])
    assert "lost 3 times" in train.failures[0].reason and str(fatal.path) in train.failures[0].reason


def test_shards(
    cluster: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, how in (("alone", []), ("spread", RAY)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        shards = ["--shards", str(tmp_path / name), "--shard-mb=1", "--size=200", "--cameras=box-6"]
        assert main(["render", str(folder), *shards, *how]) == 1
    assert files(tmp_path / "spread") == files(tmp_path / "alone")
    assert len(list((tmp_path / "alone").glob("train-*.tar"))) == 2


def start(folder: Path, cache: Path, *how: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "batchot.cli", "render", str(folder), *VIEWS, *how],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_CACHE_HOME": str(cache),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_joining_a_cluster_by_its_address(cluster: str, folder: Path, tmp_path: Path) -> None:
    process = start(folder, tmp_path / "spread", "--engine=ray", "--workers=1", RAY_ADDRESS=cluster)
    said, error = process.communicate(timeout=180)
    assert process.returncode == 1, error
    assert f"1 Ray workers on the cluster at {cluster}" in said and "12 rendered now" in said
    assert error == ""
    alone = render_collection(
        [*load_collection("folder", folder).train, *load_collection("folder", folder).test],
        SETTINGS,
        tmp_path / "alone",
        progress=False,
    )
    assert views(alone) == {path.name: path.read_bytes() for path in (tmp_path / "spread").rglob("??/*.npy")}


def test_interrupted_it_stops_and_goes_on(tmp_path: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'batchot[ray]'")
    write_tetrahedra(tmp_path / "shapes", 150)
    large = "--size=150"
    process = start(tmp_path / "shapes", tmp_path / "cache", "--engine=ray", "--workers=1", large)
    deadline = time.monotonic() + 120
    while not (there := list((tmp_path / "cache").rglob("??/*.npy"))) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert there
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal reaches all of the group
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in error
    time.sleep(1.0)
    assert not members(process.pid), members(process.pid)
    n = len(list((tmp_path / "cache").rglob("??/*.npy")))
    assert 0 < n < 150
    again = start(tmp_path / "shapes", tmp_path / "cache", large)
    said, error = again.communicate(timeout=120)
    assert again.returncode == 0 and f"{150 - n} rendered now" in said, error


def members(session: int) -> list[str]:
    """Processes of a session that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_a_cluster_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert main(["render", str(folder), *VIEWS, "--engine=ray", "--ray-address=127.0.0.1:1"]) == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (["--workers=2"], "--workers is for --engine ray"),
        (["--ray-address=a:1"], "--ray-address is for --engine ray"),
        (["--engine=ray", "--processes=2"], "give --workers"),
        (["--engine=ray", "--workers=0"], "at least 1"),
        (["--engine=spark"], "invalid choice"),
        (["--shard-mb=3"], "goes with --shards"),
    ],
)
def test_options_that_do_not_fit(
    folder: Path, how: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(folder), *how]) == 2
    assert message in capsys.readouterr().err


def test_one_machine_needs_no_ray(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None; from batchot.cli import main; "
        f"sys.exit(main(['render', {str(folder)!r}, *{VIEWS!r}]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "12 rendered now" in done.stdout, done.stderr
