"""What whoever runs the server relies on: proxies, tokens, signals, ports, formats; docs/operator.md is its guide."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from batchot.cli import main
from batchot.commands.serve import _share_cores
from search_support import off_bytes
from serve_support import free_port, serving

pytestmark = pytest.mark.flaky(reruns=2)  # processes and clocks on a machine that others use

httpx = pytest.importorskip("httpx", reason="the tests of the API need httpx")
GUIDE = Path(__file__).parents[2] / "docs" / "operator.md"
TOKENS = ("first-token-of-16-letters", "second-token-of-16-letters")


@contextmanager
def at_socket(
    index: Path, path: Path, *options: str, log: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "batchot",
        "serve",
        str(index),
        "--uds",
        str(path),
        "--device=cpu",
        *options,
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert process.stdout is not None
    try:
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None or shutil.which("openssl") is None,
    reason="needs nginx and openssl",
)
def test_the_nginx_of_the_guide(small_index: Path, tmp_path: Path) -> None:
    found = re.search(r"```nginx\n# nginx\.conf\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    port, place = free_port(), tmp_path / "serve.sock"
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKENS[0])
    key = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=search.example.org",
    ]
    subprocess.run(
        [*key, "-keyout", tmp_path / "k.pem", "-out", tmp_path / "c.pem"], check=True, capture_output=True
    )
    block = (
        found[1]
        .replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        .replace("/etc/ssl/certs/search.pem", str(tmp_path / "c.pem"))
        .replace("/etc/ssl/private/search.key", str(tmp_path / "k.pem"))
        .replace("/run/batchot/serve.sock", str(place))
    )
    scratch = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{user} daemon off; pid {tmp_path}/pid; events {{}} http {{ access_log off; {scratch} {block} }}"
    )
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    options = (
        "--root-path",
        "/shapes",
        "--allow-host",
        "search.example.org",
        "--token-file",
        str(tokens),
        "--processes=1",
    )
    with at_socket(small_index, place, *options):
        command = [
            str(nginx),
            "-e",
            str(tmp_path / "error.log"),
            "-p",
            str(tmp_path),
            "-c",
            str(tmp_path / "nginx.conf"),
        ]
        proxy = subprocess.Popen(command)
        try:
            context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
            context.check_hostname = False
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            headers = {"host": "search.example.org"}
            with httpx.Client(
                base_url=f"https://127.0.0.1:{port}", verify=context, headers=headers, timeout=60
            ) as client:
                form = client.get("/shapes/", headers={"accept": "text/html"})
                assert form.status_code == 401 and '<form method="post">' in form.text
                sent = {"origin": "https://search.example.org", "accept": "text/html"}
                entered = client.post("/shapes/", data={"token": TOKENS[0]}, headers=sent)
                assert entered.status_code == 303 and entered.headers["location"] == "/shapes/"
                cookie = entered.headers["set-cookie"]
                assert "; Secure" in cookie and "Path=/shapes/" in cookie
                own = {"cookie": cookie.split(";")[0]}
                page = client.get("/shapes/", headers=own)
                assert page.status_code == 200
                for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):  # relative: the prefix stays
                    assert client.get(f"/shapes/{address}", headers=own).status_code == 200, address
                found_ = client.post(
                    "/shapes/api/v1/search?k=1", content=off_bytes("bottle", 2), headers=own
                ).json()
                id = found_["hits"][0]["id"]
                for part in ("thumbnail", "preview.glb", "download"):
                    assert client.get(f"/shapes/api/v1/shapes/{id}/{part}", headers=own).status_code == 200
                docs = client.get("/shapes/api/docs", headers=own).text
                for address in re.findall(r'(?:src|href)="([^"]+)"|url: \'([^\']+)\'', docs):
                    local = next(filter(None, address))
                    assert local.startswith("/shapes/") and client.get(local, headers=own).status_code == 200
                described = client.get("/shapes/api/openapi.json", headers=own).json()
                assert described["servers"] == [{"url": "/shapes"}]
                assert described["paths"]["/api/v1/info"]["get"]["security"] == [{"HTTPBearer": []}]
                assert client.get("/shapes", headers={"host": "evil.example"}).status_code in (301, 308, 400)
                assert client.get("/shapes/", headers={"host": "evil.example", **own}).status_code == 400
                tokens.write_text(TOKENS[1])  # exchanged while it runs
                time.sleep(1.2)
                assert client.get("/shapes/api/v1/info", headers=own).status_code == 401
                bearer = {"authorization": f"Bearer {TOKENS[1]}"}
                assert client.get("/shapes/api/v1/info", headers=bearer).status_code == 200
        finally:
            proxy.terminate()
            proxy.wait(10)
    assert not place.exists()


def test_sigterm_ends_it_within_five_seconds_whatever_it_is_at(small_index: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    place.touch()
    place.unlink()
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(place))  # of a server that was killed
    leftover.close()
    rng = __import__("numpy").random.default_rng(0)
    soup = b"".join(b"%f %f %f\n" % tuple(row) for row in rng.normal(size=(300_000, 3)))
    log = tmp_path / "log"
    with log.open("wb") as written, at_socket(small_index, place, "--processes=1", log=written) as process:
        transport = httpx.HTTPTransport(uds=str(place))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            process.send_signal(signal.SIGHUP)  # to a service: read anew what has changed
            # the last is who asked the proxy; what stands before it anybody may have sent
            said = {"x-forwarded-for": "6.6.6.6, 10.1.2.3"}
            assert client.get("/health", headers=said).json()["ready"] is True
            until = time.monotonic() + 10  # the line is written after the answer
            while not (told := log.read_text()) and time.monotonic() < until:
                time.sleep(0.05)
            assert " 10.1.2.3 GET /health 200 " in told
            code = (
                "import httpx, sys; from pathlib import Path\n"
                f"c = httpx.Client(transport=httpx.HTTPTransport(uds={str(place)!r}), timeout=60)\n"
                "c.post('http://localhost/api/v1/search', content=sys.stdin.buffer.read(), params={'name': 'a.xyz'})"
            )
            asking = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert asking.stdin is not None
            asking.stdin.write(soup)
            asking.stdin.close()
            time.sleep(1)
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert time.monotonic() - start < 5
            asking.kill()
            asking.wait()


def test_a_port_that_is_taken(small_index: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(small_index), "--port", str(port)]) == 1
        said = capfd.readouterr()
        assert "http://" not in said.out and f"port {port}" in said.err and "in use" in said.err
    assert main(["serve", str(small_index), "--host", "192.0.2.1"]) == 1  # of no machine
    assert "another server" not in capfd.readouterr().err
    assert main(["serve", str(small_index), "--uds", str(tmp_path / "none" / "s")]) == 1
    said = capfd.readouterr()
    assert "No such file" in said.err and "another server" not in said.err
    (tmp_path / "file").write_text("")
    assert main(["serve", str(small_index), "--uds", str(tmp_path / "file")]) == 1
    assert "cannot listen" in capfd.readouterr().err and (tmp_path / "file").exists()


def test_another_address_of_this_machine(small_index: Path) -> None:
    port = free_port()
    with at_address(small_index, "127.0.0.2", port):
        assert httpx.get(f"http://127.0.0.2:{port}/api/v1/info").json()["shapes"] == 15


@contextmanager
def at_address(index: Path, host: str, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "batchot", "serve", str(index), "--device=cpu", "--processes=1"]
    command += ["--host", host, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex((host, port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root-path", "shapes"], "must begin with one /"),
        (["--root-path", "//evil"], "must begin with one /"),
        (["--allow-host", "https://a.example"], "a name without port"),
        (["--allow-host", "*"], "a name without port"),
        (["--request-seconds", "0"], "must be positive"),
        (["--wait-seconds", "-1"], "must be positive"),
        (["--port", "-1"], "0 .. 65535"),
        (["--port", "65536"], "0 .. 65535"),
    ],
)
def test_options_that_are_none(
    small_index: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(small_index), *options]) == 2
    assert message in capsys.readouterr().err


def test_head_leaves_the_connection_as_it_was(server: str) -> None:
    connection = HTTPConnection(urlsplit(server).netloc, timeout=20)
    connection.connect()
    connection.auto_open = 0  # a second one would hide that the first was cut
    for path in ("/", "/health", "/api/v1/info", "/static/page/page.js", "/api/nothing"):
        lengths = []
        for method in ("HEAD", "GET"):
            connection.request(method, path)
            answer = connection.getresponse()
            lengths.append(answer.headers["content-length"])
            assert len(answer.read()) == (0 if method == "HEAD" else int(lengths[0]))
        assert lengths[0] == lengths[1]
    connection.close()


def test_a_store_that_is_gone_is_not_ready(small_index: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(small_index, tmp_path / "index"))
    with (
        serving(index, "--processes", "1") as (address, _),
        httpx.Client(base_url=address, timeout=20) as client,
    ):
        assert client.get("/health").status_code == 200
        (index / "shapes").rename(tmp_path / "gone")
        answer = client.get("/health")
        assert answer.status_code == 503 and answer.json() == {
            "status": "failing",
            "live": True,
            "ready": False,
        }
        assert client.get("/health/live").status_code == 200
        (index / "index.json").rename(tmp_path / "index.json")
        numbers = client.get("/metrics")  # now they are wanted most
        assert numbers.status_code == 200 and "\nbatchot_shapes NaN\n" in numbers.text
        (tmp_path / "index.json").rename(index / "index.json")
        (tmp_path / "gone").rename(index / "shapes")
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_files_that_are_embedded_share_the_cores(
    workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr("batchot.workers.process.usable_cores", lambda: 8)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("torch.set_num_threads", given.append)
    _share_cores(workers)
    assert given == [threads]


def test_a_free_port_is_taken_and_told(small_index: Path) -> None:
    with serving(small_index, "--processes", "1", "--port=0") as (address, printed):
        assert (
            not address.endswith(":0") and f"open {address}/" in printed and f"{address}/api/docs" in printed
        )
        assert "\nbatchot_queue_wait_seconds 0.0\n" in httpx.get(f"{address}/metrics").text


def test_a_log_that_nobody_reads_stops_nothing(small_index: Path) -> None:
    with (
        serving(small_index, "--processes", "1") as (address, _),  # its stderr is a pipe that is not read
        httpx.Client(base_url=address, timeout=20) as client,
    ):
        for _ in range(1500):
            assert client.get("/health/live").status_code == 200
