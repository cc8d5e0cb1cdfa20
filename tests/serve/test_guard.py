"""What every request has to pass, before an application that says how it was asked."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchot.serve.door import Door
from batchot.serve.guard import Guard, Protection, Refused, Tokens, cookie_name
from batchot.serve.record import Record

httpx = pytest.importorskip("httpx", reason="the tests of the API need httpx")
uvicorn = pytest.importorskip("uvicorn", reason="the server needs uvicorn")

TOKENS = ("first-token-of-16-letters", "second-token-of-16-letters")


async def told(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Answers how it was asked, and takes as long as the body says."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    body = (await receive())["body"]
    if scope["path"].endswith("/fails"):
        raise RuntimeError("nobody expected this")
    if body.startswith(b"sleep"):
        await asyncio.sleep(float(body[5:]))
    size = int(body[4:]) if body.startswith(b"size") else 0
    answer = {
        "path": scope["path"],
        "root": scope["root_path"],
        "method": scope["method"],
        "bytes": len(body),
    }
    text = json.dumps(answer).encode() + b" " * size
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def guard(protection: Protection, admit=lambda client, n: None) -> Guard:  # type: ignore[no-untyped-def]
    return Guard(told, protection, Record(), admit)


def ask(protection, path="/x", *, method="GET", scheme="http", **options):  # type: ignore[no-untyped-def]
    async def once():  # type: ignore[no-untyped-def]
        transport = httpx.ASGITransport(guard(protection), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8080", 200),
        ("127.0.0.2:8080", 200),
        ("[::1]:8080", 200),
        ("search.example.org", 200),
        ("search.example.org:443", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("10.0.0.1", 400),
        ("", 400),
        ("[", 400),
    ],
)
def test_names_that_it_answers_to(host: str, status: int) -> None:
    protection = Protection(hosts=frozenset({"search.example.org"}))
    assert ask(protection, headers={"host": host}).status_code == status
    assert ask(Protection(hosts=None), headers={"host": host}).status_code == 200
    assert ask(protection, "/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("given", ["/shapes/x", "/x"])  # the proxy has taken the prefix off, or not
def test_below_a_prefix(given: str) -> None:
    protection = Protection(prefix="/shapes", tokens=lambda: TOKENS)
    asked = {"authorization": f"Bearer {TOKENS[1]}"}
    assert ask(protection, given, headers=asked).json() | {} == {
        "path": "/shapes/x",
        "root": "/shapes",
        "method": "GET",
        "bytes": 0,
    }
    answer = ask(protection, f"{given}?a=b&token={TOKENS[0]}")
    assert answer.status_code == 303 and answer.headers["location"] == "/shapes/x?a=b"
    assert "Path=/shapes/;" in answer.headers["set-cookie"]
    assert ask(protection, "/shapes").headers["location"] == "/shapes/"


def test_the_cookie_is_secure_behind_tls_and_the_servers_own() -> None:
    protection = Protection(tokens=lambda: TOKENS, cookie=cookie_name("8081"))
    for scheme, secure in (("http", False), ("https", True)):
        cookie = ask(protection, f"/?token={TOKENS[0]}", scheme=scheme).headers["set-cookie"]
        assert cookie.startswith("batchot_token_8081=") and ("; Secure" in cookie) is secure
    both = f"batchot_token_8080=other; batchot_token_8081={TOKENS[0]}"
    assert ask(protection, headers={"cookie": both}).status_code == 200
    assert ask(protection, headers={"cookie": f"batchot_token_8080={TOKENS[0]}"}).status_code == 401
    assert re.fullmatch(r"\w+", cookie_name("/run/batchot.sock"))


def test_a_visitor_without_a_token_gets_a_field_for_it() -> None:
    protection = Protection(tokens=lambda: TOKENS, prefix="/shapes")
    answer = ask(protection, "/shapes/?x=1", headers={"accept": "text/html"})
    assert answer.status_code == 401 and "<label" in answer.text and 'action="/shapes/login"' in answer.text
    assert (
        ask(protection, "/shapes/api/v1/info", headers={"accept": "text/html"}).json()["error"]["code"]
        == "token"
    )
    form = {"method": "POST", "headers": {"origin": "http://localhost"}}
    wrong = ask(protection, "/shapes/login", data={"token": "no", "next": "/shapes/"}, **form)
    assert wrong.status_code == 401 and "That is not the token" in wrong.text
    right = ask(protection, "/shapes/login", data={"token": TOKENS[0], "next": "/shapes/?x=1"}, **form)
    assert right.status_code == 303 and right.headers["location"] == "/shapes/?x=1"
    assert TOKENS[0] in right.headers["set-cookie"]
    for elsewhere in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        answer = ask(protection, "/shapes/login", data={"token": TOKENS[0], "next": elsewhere}, **form)
        assert answer.headers["location"] == "/shapes/"


def test_tokens_are_exchanged_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the office\n{TOKENS[0]}  # until Friday\n\n")
    tokens = Tokens((), file)
    assert tokens() == (TOKENS[0],)
    file.write_text("\n".join(TOKENS))
    os.utime(file, ns=(1, 1))
    tokens._looked = 0.0
    assert tokens() == TOKENS
    file.unlink()
    tokens._looked = 0.0
    assert tokens() == TOKENS  # half way through an exchange the old ones hold
    file.write_text("short")
    with pytest.raises(ValueError, match="at least 16"):
        Tokens((), file)
    file.write_text("# none\n")
    with pytest.raises(ValueError, match="has no token"):
        Tokens((), file)


def test_head_is_get_without_the_body_and_failures_are_json(caplog: pytest.LogCaptureFixture) -> None:
    head = ask(Protection(), method="HEAD")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 10
    with caplog.at_level(logging.ERROR, "batchot.serve"):
        answer = ask(Protection(), "/fails")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal"
    assert "nobody expected this" not in answer.text and "nobody expected this" in caplog.text


def test_a_line_a_request_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "batchot.access"):
        ask(Protection(tokens=lambda: TOKENS), f"/a%0Ab%1b[31m?token={TOKENS[0]}&name=secret.off")
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert line.isprintable() and "/a\\nb\\x1b[31m 303" in line
    assert TOKENS[0] not in line and "secret.off" not in line


def test_files_are_refused_before_they_arrive_when_nobody_could_read_them() -> None:
    def admit(client: str, n: int) -> None:
        assert n == 1  # bytes that will come
        raise Refused(503, "busy", "much to do", 7)

    async def once():  # type: ignore[no-untyped-def]
        transport = httpx.ASGITransport(guard(Protection(), admit))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/x"), await client.post("/x", content=b"x")

    get, post = asyncio.run(once())
    assert get.status_code == 200 and post.status_code == 503 and post.headers["retry-after"] == "7"


@contextmanager
def listening(door: Door, protection: Protection | None = None) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            guard(protection or Protection()),
            http=door.protocol,
            ws="none",
            log_config=None,
            timeout_keep_alive=2,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield port
        server.should_exit = server.force_exit = True
        thread.join(10)


def connect(port: int, sent: bytes, source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    made.sendall(sent)
    return made


def closed(connection: socket.socket) -> bytes:
    """What it still says until it closes."""
    said = b""
    try:
        while part := connection.recv(65536):
            said += part
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
    ],
)
def test_head_and_body_have_one_deadline(begun: bytes) -> None:
    with listening(Door(arrive_seconds=1.0)) as port:
        start = time.monotonic()
        connection = connect(port, begun)
        said = b""
        connection.settimeout(0.2)
        while time.monotonic() - start < 10:  # a byte from time to time begins nothing anew
            try:
                connection.sendall(b"x" if b"Content" in begun else b"")
                if part := connection.recv(65536):
                    said += part
                else:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert said.startswith(b"HTTP/1.1 408") and 0.9 < time.monotonic() - start < 6
        with connect(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as other:
            assert closed(other).startswith(b"HTTP/1.1 200")
        # after an answer too: an empty line must not keep a connection for ever
        with connect(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n") as idle:
            assert b" 200 " in closed(idle)


def test_requests_that_never_end_lock_nobody_out() -> None:
    door = Door(arrive_seconds=60.0, connections=40)
    with listening(door) as port:
        half = [connect(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n") for _ in range(100)]
        slow = [
            connect(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
            for _ in range(100)
        ]
        for source in ("127.0.0.1", "127.0.0.2"):
            with connect(
                port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", source
            ) as other:
                assert closed(other).startswith(b"HTTP/1.1 200")
        assert door.shares.held["127.0.0.1"] <= 20 and door.refused["busy"] >= 160
        for connection in half + slow:
            connection.close()


def test_a_share_of_the_requests_and_bytes_stays_for_others() -> None:
    protection = Protection(at_once=8, waiting_bytes=4000, body_bytes=4000)
    with listening(Door(), protection) as port:

        def post(body: bytes, source: str = "127.0.0.1", length: int | None = None) -> socket.socket:
            head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            head += f"Content-Length: {length or len(body)}\r\n"
            return connect(port, head.encode() + b"\r\n" + body, source)

        held = [post(b"sleep2") for _ in range(8)]
        time.sleep(0.3)
        assert b" 200 " in closed(post(b"x", "127.0.0.2"))
        statuses = [closed(connection)[9:12] for connection in held]
        assert statuses.count(b"200") == 4 and statuses.count(b"503") == 4
        half = post(b"x" * 1900, length=3000)
        time.sleep(0.2)
        busy = closed(post(b"x" * 1000))
        assert busy[9:12] == b"503" and b"retry-after" in busy
        assert b" 200 " in closed(post(b"x" * 1000, "127.0.0.2"))
        half.close()
        time.sleep(0.2)
        assert b" 200 " in closed(post(b"x" * 1900))


def test_who_does_not_take_an_answer_is_let_go() -> None:
    door = Door(take_seconds=1.0)
    with listening(door) as port:
        body = b"size50000000"
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection = connect(port, head + body)
        deadline = time.monotonic() + 15
        time.sleep(0.5)
        assert door.shares.used == 1
        while door.shares.used and time.monotonic() < deadline:
            time.sleep(0.1)
        assert door.shares.used == 0
        connection.close()


def test_who_leaves_writes_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), listening(Door()) as port:
        connect(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx").close()
        connect(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsleep0.5").close()
        time.sleep(1.5)
    lines = [record.getMessage() for record in caplog.records if record.name == "batchot.access"]
    assert len(lines) == 2 and " 499 " in lines[0]
    assert not any(record.exc_info for record in caplog.records)
