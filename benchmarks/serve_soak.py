"""What a served index bears for half an hour: clients, slow ones, heavy files, reloads, an index that grows meanwhile.

    python benchmarks/serve_soak.py --minutes 30 --clients 50
    python benchmarks/serve_soak.py --index INDEX --meshes FOLDER --sketches FOLDER

Without --index it makes one of the built-in shapes, with a network that was trained for one epoch on drawings of them:
enough to be asked, not to be right. Works on a copy of the index.

Prints errors, p50 and p99 of each kind of question, and the memory of server and readers at the start, every minute,
and at the end. 503 is counted on its own: the server says that it has no room.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

KINDS = ("sketch", "mesh", "similar", "thumbnail", "page", "map", "again")


class Log:
    """What happened, told by many threads."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.statuses: dict[str, Counter[str]] = defaultdict(Counter)

    def __call__(self, kind: str, status: str, seconds: float) -> None:
        self.statuses[kind][status] += 1
        if status == "200":
            self.times[kind].append(seconds)


def visitor(address: str, stop: float, seed: int, meshes: list[Path], sketches: list[Path], log: Log) -> None:
    """A person: draws, gives files, looks at what is alike, loads the page now and then."""
    rng = random.Random(seed)
    # an address of its own, as if they came through a proxy that says whose they are
    headers = {"x-forwarded-for": f"10.0.{seed // 250}.{seed % 250 + 1}"}
    with httpx.Client(base_url=address, timeout=120, headers=headers) as client:
        ids = [hit["id"] for hit in client.get("/api/v1/search", params={"k": 200}).json()["hits"]]
        last = None
        while time.perf_counter() < stop:
            kind = rng.choices(KINDS, (30, 15, 20, 25, 4, 2, 4))[0]
            start = time.perf_counter()
            try:
                if kind in ("sketch", "mesh"):
                    file = rng.choice(sketches if kind == "sketch" else meshes)
                    answer = client.post(
                        "/api/v1/search", content=file.read_bytes(), params={"name": file.name, "k": 20}
                    )
                    last = answer.json().get("query_id", last)
                elif kind == "page":
                    for path in ("/", "/static/page/page.js", "/api/v1/info", "/api/v1/classes"):
                        answer = client.get(path)
                elif kind == "again":
                    answer = client.get(f"/api/v1/queries/{last}" if last else "/api/v1/info")
                elif kind == "map":
                    answer = client.get("/api/v1/map")
                else:
                    answer = client.get(f"/api/v1/shapes/{rng.choice(ids)}/{kind}")
                status = str(answer.status_code)
            except httpx.HTTPError as error:
                status = type(error).__name__
            log(kind, status, time.perf_counter() - start)
            time.sleep(rng.expovariate(1.0))  # a person looks at what was found


def heavy(address: str, stop: float, seed: int, log: Log) -> None:
    """One who sends large files, and leaves before every third answer."""
    rng = np.random.default_rng(seed)
    # small ones: what covers itself thousands of times over is refused at once
    triangles = (rng.uniform(-1, 1, (60_000, 1, 3)) + rng.uniform(-0.05, 0.05, (60_000, 3, 3))).reshape(-1, 9)
    lines = [f"v {x[0]:.4f} {x[1]:.4f} {x[2]:.4f}" for x in triangles.reshape(-1, 3)]
    lines += [f"f {3 * k + 1} {3 * k + 2} {3 * k + 3}" for k in range(len(triangles))]
    data = "\n".join(lines).encode()
    with httpx.Client(base_url=address, headers={"x-forwarded-for": f"10.9.0.{seed + 1}"}) as client:
        n = 0
        while time.perf_counter() < stop:
            n += 1
            start = time.perf_counter()
            try:
                wait = 1.0 if n % 3 == 0 else 180.0
                answer = client.post(
                    "/api/v1/search", content=data, params={"name": "soup.obj"}, timeout=wait
                )
                status = str(answer.status_code)
                if status == "503":
                    time.sleep(float(answer.headers["retry-after"]))
            except httpx.TimeoutException:
                status = "left"
            except httpx.HTTPError as error:
                status = type(error).__name__
            log("heavy", status, time.perf_counter() - start)


def slow(port: int, stop: float, seed: int, log: Log) -> None:
    """One who sends a byte every few seconds, of a head or of a body."""
    body = seed % 2
    begun = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\n" + (
        b"Content-Length: 5000\r\n\r\n" if body else b"X: "
    )
    while time.perf_counter() < stop:
        start = time.perf_counter()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(begun)
                while time.perf_counter() < stop:
                    connection.sendall(b"x")
                    connection.settimeout(5)
                    try:
                        said = connection.recv(100)
                    except TimeoutError:
                        continue
                    log("slow", said[9:12].decode() or "closed", time.perf_counter() - start)
                    break
        except OSError:
            log("slow", "closed", time.perf_counter() - start)


def grow(index: Path, stop: float, meshes: list[Path], log: Log) -> None:
    """Whoever puts a shape into the index every half minute."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for mesh in meshes:
        if time.perf_counter() > stop:
            break
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder) / f"new-{start:.0f}{mesh.suffix}"
            new.write_bytes(mesh.read_bytes())
            command = [
                sys.executable,
                "-m",
                "batchot",
                "index",
                "add",
                str(index),
                str(new),
                "--device",
                "cpu",
                "--processes=1",
            ]
            done = subprocess.run(command, env=env, capture_output=True, check=False)
        log("index add", "200" if done.returncode == 0 else str(done.returncode), time.perf_counter() - start)
        time.sleep(max(0.0, min(30 - (time.perf_counter() - start), stop - time.perf_counter())))


def memory(pid: int) -> tuple[float, float]:
    """MB of the server, and of the processes that read files for it."""

    def of(process: int) -> float:
        try:
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        except OSError:
            pass
        return 0.0

    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            children += (task / "children").read_text().split()
    return of(pid), sum(of(int(child)) for child in set(children))


def small_index(root: Path, threads: int) -> tuple[Path, Path, Path]:
    """An index of the built-in shapes; gives it with folders of meshes and drawings."""
    from PIL import Image

    from batchot import render_views
    from batchot.shapes.library import CLASS_NAMES, generate_shape, write_library

    sketches, shapes, out = root / "data" / "sketches", root / "data" / "shapes", root / "index"
    write_library(shapes, per_class=6)
    for class_name in CLASS_NAMES:
        for k in range(6):
            path = sketches / class_name / ("train" if k < 4 else "test") / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            views = render_views(generate_shape(class_name, 1000 + k), "box-6", size=256, channels=("lines",))
            Image.fromarray(views[k, 0]).save(path)
    train = ["train", "sketch-folder-scratch", "--data-root", str(root / "data"), "--out", str(root / "run")]
    train += ["--device=cpu", "epochs=1", "precision=32"]
    for command in (
        train,
        ["index", "build", str(root / "run"), str(shapes), "--out", str(out), "--device=cpu"],
    ):
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-m", "batchot", *command], env=env, check=True, stdout=sys.stderr)
    return out, shapes, sketches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--index", type=Path, help="with --meshes and --sketches (one of the built-in shapes)"
    )
    parser.add_argument("--meshes", type=Path)
    parser.add_argument("--sketches", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--heavy", type=int, default=3)
    options = parser.parse_args()
    if (options.index is None) != (options.meshes is None) or (options.index is None) != (
        options.sketches is None
    ):
        parser.error("--index, --meshes and --sketches go together")
    with tempfile.TemporaryDirectory() as scratch:
        soak(options, Path(scratch))


def soak(options: argparse.Namespace, scratch: Path) -> None:
    """Start a server, let all ask it, print what came of it."""
    if options.index is None:
        options.index, options.meshes, options.sketches = small_index(scratch, 1)
    rng = random.Random(0)
    meshes = sorted(options.meshes.rglob("*.obj")) + sorted(options.meshes.rglob("*.off"))
    sketches = sorted(options.sketches.rglob("*.png"))
    meshes, sketches = (
        rng.sample(meshes, min(300, len(meshes))),
        rng.sample(sketches, min(300, len(sketches))),
    )
    log = Log()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores, for server "
          f"and clients together; {options.clients} clients, {options.slow} slow, {options.heavy} heavy; seed 0",
          flush=True)  # fmt: skip
    index = Path(shutil.copytree(options.index, scratch / "served"))
    command = [sys.executable, "-m", "batchot", "serve", str(index), "--port=0", "--log-level=warning"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            said += (line := server.stdout.readline())
            assert line, "the server did not start"
        address = re.findall(r"http://[\d.]+:\d+", said)[0]
        port = int(address.rpartition(":")[2])
        begin = time.perf_counter()
        stop = begin + 60 * options.minutes
        work = [
            threading.Thread(target=visitor, args=(address, stop, k, meshes, sketches, log))
            for k in range(options.clients)
        ]
        work += [threading.Thread(target=slow, args=(port, stop, k, log)) for k in range(options.slow)]
        work += [threading.Thread(target=heavy, args=(address, stop, k, log)) for k in range(options.heavy)]
        work += [threading.Thread(target=grow, args=(index, stop, meshes, log))]
        first = memory(server.pid)
        for thread in work:
            thread.start()
        while time.perf_counter() < stop:
            time.sleep(min(60.0, max(0.1, stop - time.perf_counter())))
            ours, readers = memory(server.pid)
            answers = sum(len(times) for times in log.times.values())
            print(f"{(time.perf_counter() - begin) / 60:5.1f} min: server {ours:.0f} MB, readers {readers:.0f} MB, "
                  f"{answers:,} answers", flush=True)  # fmt: skip
        for thread in work:
            thread.join(200)
        assert server.poll() is None, "the server ended"
        last = memory(server.pid)
        start = time.perf_counter()
        server.terminate()
        server.wait(30)
        print(f"SIGTERM: ended with {server.returncode} after {time.perf_counter() - start:.1f} s")
    finally:
        server.kill()
    print(f"memory of the server: {first[0]:.0f} MB at the start, {last[0]:.0f} MB at the end")
    print("| question | answers | p50 ms | p99 ms | other outcomes |\n|---|---|---|---|---|")
    for kind in (*KINDS, "heavy", "slow", "index add"):
        times = [1000 * t for t in log.times[kind]] or [float("nan")]
        others = ", ".join(f"{n} x {status}" for status, n in log.statuses[kind].items() if status != "200")
        print(
            f"| {kind} | {len(log.times[kind]):,} | {np.percentile(times, 50):.0f} | {np.percentile(times, 99):.0f} "
            f"| {others} |"
        )


if __name__ == "__main__":
    main()
