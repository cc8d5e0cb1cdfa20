"""A cache folder of each test's own, a small MNIST, and a web server."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from data.published_formats import mnist_files


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the cache folder of the user, or the data that the user has set."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.delenv("BATCHOT_DATA", raising=False)
    return folder


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    """A data root with a small MNIST, packed as published."""
    (tmp_path / "mnist").mkdir()
    for name, content in mnist_files().items():
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


class Web:
    """A web server on this machine that gives the bytes in ``files``, cut short where ``cut`` says so.

    After a cut the line is closed, or with ``stalls`` kept open until ``released`` is set.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.asked_for: list[str] = []
        self.stalls = False
        self.released = Event()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked_for.append(self.path)
            if (content := site.files.get(self.path)) is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: site.cut.get(self.path)])
            if site.stalls and self.path in site.cut:
                self.wfile.flush()
                site.released.wait(timeout=60)

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Web(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.released.set()
        server.shutdown()
        thread.join()
