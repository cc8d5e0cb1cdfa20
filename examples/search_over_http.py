"""Shapes that are trained, indexed, served, and asked for over HTTP; needs `pip install 'batchot[search]' httpx`."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from batchot.shapes.library import generate_shape

BATCHOT = [sys.executable, "-m", "batchot"]
SMALL = "epochs=4 precision=32 batch.size=12 batch.classes_per_batch=3 evaluation.recalibrate=2".split()  # noqa: SIM905
SMALL += ["model.backbone=resnet10-w8-s4", "shapes.min_class=1", "shapes.cameras=box-6"]


def write(path: Path, name: str, seed: int) -> None:
    shape = generate_shape(name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write(f"OFF\n{len(shape.vertices)} {len(shape.faces)} 0\n")
        np.savetxt(file, shape.vertices, fmt="%.5f")
        np.savetxt(file, np.insert(shape.faces, 0, 3, axis=1), fmt="%d")


with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    for name in ("bottle", "stairs", "airplane"):
        for seed in range(8):
            write(root / "shapes" / name / f"{seed}.off", name, seed)
    write(root / "asked.off", "stairs", 100)
    train = ["train", "shape-folder-scratch", "--data-root", root / "shapes", "--out", root / "run", *SMALL]
    subprocess.run([*BATCHOT, *train], check=True)
    build = ["index", "build", root / "run", root / "shapes", "--out", root / "parts.index"]
    subprocess.run([*BATCHOT, *build], check=True)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([*BATCHOT, "serve", str(root / "parts.index"), "--port", str(port)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while True:  # it loads the network first
                try:
                    if client.get("/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            file = {"file": ("asked.off", (root / "asked.off").read_bytes())}
            found = client.post("/api/v1/search", files=file, params={"k": 3}).raise_for_status().json()
        print(found["top_class"], [hit["name"] for hit in found["hits"]])
    finally:
        server.terminate()
        server.wait()
