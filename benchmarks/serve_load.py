"""How a served index bears many clients at once, and how long a person waits.

    python benchmarks/serve_load.py INDEX --meshes FOLDER --sketches FOLDER

Starts ``batchot serve``, lets clients ask for a minute (drawings, meshes, more like this, thumbnails), and then gives
meshes to the page in a headless browser, from the click to the first result. Needs the extra `dev`; the browser only
with chromium.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np


def ask(address: str, stop: float, seed: int, meshes: list[Path], sketches: list[Path], log: list) -> None:
    """One client: a question after the other, until it is time."""
    rng = random.Random(seed)
    with httpx.Client(base_url=f"{address}/api/v1", timeout=60) as client:
        ids = [point["id"] for point in client.get("/map").json()[:200]]
        while time.perf_counter() < stop:
            kind = rng.choice(["sketch", "mesh", "similar", "thumbnail", "thumbnail"])
            start = time.perf_counter()
            try:
                if kind in ("sketch", "mesh"):
                    file = rng.choice(sketches if kind == "sketch" else meshes)
                    answer = client.post("/search", files={"file": (file.name, file.read_bytes())})
                else:
                    answer = client.get(f"/shapes/{rng.choice(ids)}/{kind}")
                status = str(answer.status_code)
            except httpx.HTTPError as error:
                status = type(error).__name__
            log.append((kind, status, time.perf_counter() - start))


def load(address: str, clients: int, seconds: float, meshes: list[Path], sketches: list[Path]) -> None:
    """Print the table of a minute of many clients."""
    log: list[tuple[str, str, float]] = []
    stop = time.perf_counter() + seconds
    threads = [
        threading.Thread(target=ask, args=(address, stop, k, meshes, sketches, log)) for k in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{clients} clients, {seconds:g} s: {len(log):,} answers, {len(log) / seconds:.0f} a second, "
          f"{dict(Counter(status for _, status, _ in log))}")  # fmt: skip
    print("| question | answers | p50 ms | p99 ms |\n|---|---|---|---|")
    for kind in ("sketch", "mesh", "similar", "thumbnail", "all"):
        times = [1000 * t for k, _, t in log if kind in (k, "all")]
        print(
            f"| {kind} | {len(times):,} | {np.percentile(times, 50):.0f} | {np.percentile(times, 99):.0f} |"
        )


def click_to_result(address: str, meshes: list[Path]) -> None:
    """Print how long it takes from giving a file to the page until the first result is drawn."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(".pad-sheet, .drop")
        page.wait_for_timeout(1000)
        page.evaluate(
            "() => { const options = { childList: true, subtree: true, attributes: true, characterData: true };"
            "new MutationObserver(() => window.changed = true).observe(document.querySelector('.results'), options) }"
        )
        times = []
        for mesh in meshes:
            page.evaluate("window.changed = false")
            start = time.perf_counter()
            page.locator("#file").set_input_files(str(mesh))
            page.wait_for_function("() => window.changed && document.querySelector('.card img')?.complete")
            times.append(1000 * (time.perf_counter() - start))
        browser.close()
    print(f"from click to result on the page, {len(times)} meshes: median {np.median(times):.0f} ms, "
          f"p95 {np.percentile(times, 95):.0f} ms")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--meshes", type=Path, required=True)
    parser.add_argument("--sketches", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clicks", type=int, default=40)
    options = parser.parse_args()
    rng = random.Random(0)
    meshes = sorted(options.meshes.rglob("*.obj")) + sorted(options.meshes.rglob("*.off"))
    sketches = sorted(options.sketches.rglob("*.png"))
    meshes, sketches = (
        rng.sample(meshes, min(200, len(meshes))),
        rng.sample(sketches, min(200, len(sketches))),
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores, for server, "
          "clients and browser together; seed 0")  # fmt: skip
    command = [sys.executable, "-m", "batchot", "serve", str(options.index), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        while "Ctrl-C" not in (line := server.stdout.readline()):
            assert line, "the server did not start"
        time.sleep(1)
        address = f"http://127.0.0.1:{port}"
        load(address, options.clients, options.seconds, meshes, sketches)
        if shutil.which("chromium"):
            click_to_result(address, meshes[: options.clicks])
        assert server.poll() is None, "the server ended"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
