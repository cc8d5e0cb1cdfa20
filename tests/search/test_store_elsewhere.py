"""A store in an object store: against moto's server of the S3 protocol, where it can be started.

python -m venv MOTO && MOTO/bin/pip install 'moto[server]'
BATCHOT_MOTO=MOTO/bin/moto_server pytest tests/search/test_store_elsewhere.py
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchot.cli import main
from batchot.search.about import problems_of_store
from batchot.search.records import Filters, SearchError, record_id
from batchot.search.searcher import Searcher
from batchot.search.store import ShapeStore
from search_support import make_record, unit_vectors

MOTO = os.environ.get("BATCHOT_MOTO") or shutil.which("moto_server")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an empty bucket; the environment says how to reach it."""
    if MOTO is None:
        pytest.skip("no moto_server: an object store cannot be started")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([MOTO, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/parts", method="PUT"), timeout=20
        )
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
                "AWS_ALLOW_HTTP": "true",
            }.items():
                patch.setenv(name, value)
            yield "s3://parts"
    finally:
        server.terminate()
        server.wait()


def test_a_store_in_a_bucket(bucket: str) -> None:
    uri = f"{bucket}/shapes"
    x = unit_vectors(30)
    with ShapeStore.create(uri, 8) as store:
        store.add([make_record(f"a/{k}.off", v, f"c{k % 2}") for k, v in enumerate(x)])
        store.add([make_record("a/3.off", -x[3], "new")])
        store.remove([record_id("a/4.off")])
    with ShapeStore.open(uri) as again:
        assert len(again) == 29 and again.classes()["new"] == 1
        assert again.search(-x[3], 1)[0].name == "a/3.off"
        found = again.search(x[0], 30, filters=Filters(classes=("c1",)))
        assert {hit.class_name for hit in found} == {"c1"}
        np.testing.assert_array_equal(again.vector(record_id("a/7.off")), x[7])
        assert problems_of_store(again, normalized=True) == []
        again.optimize()
    with pytest.raises(SearchError, match="s3://parts/nothing"):
        ShapeStore.open(f"{bucket}/nothing")


def test_an_index_whose_shapes_are_in_a_bucket(
    bucket: str, sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, shapes = sketch_run
    out, uri = tmp_path / "index", f"{bucket}/index"
    build = ["index", "build", str(run), str(shapes), "--out", str(out), "--device=cpu", "--processes=1"]
    assert main([*build, "--store", uri]) == 0
    assert not (out / "shapes").exists()
    assert (
        main(build) == 1
    )  # it may be somebody else's index: the keys of the environment are not for every server
    assert "add --allow-store" in capsys.readouterr().err
    assert main([*build, "--allow-store"]) == 0  # it knows where its shapes are
    assert "0 shapes added, 0 changed, 15 as they were" in capsys.readouterr().out
    with Searcher.open(out, device="cpu", allow_store=True) as searcher:
        assert searcher.search_file(shapes / "stairs" / "1.off", k=1).hits[0].name == "stairs/1.off"
    assert main(["index", "verify", str(out), "--allow-store"]) == 0
    assert main([*build, "--allow-store", "--store", f"{bucket}/other"]) == 1
    assert "leave --store out" in capsys.readouterr().err
