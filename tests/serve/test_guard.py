"""What every request has to pass, before an application that says how it was asked."""

from __future__ import annotations

import asyncio
import contextlib
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

from batchot.search.records import SearchError
from batchot.serve.door import Door, client_of
from batchot.serve.guard import Guard, Protection, Refused, Tokens, cookie_name
from batchot.serve.record import Record

pytestmark = pytest.mark.flaky(reruns=2)  # processes and clocks on a machine that others use

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
    protection = Protection(hosts=frozenset({"Search.Example.org."}))
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
    assert ask(protection, "/shapes?token=a%2Bb&x=1").headers["location"] == "/shapes/?token=a%2Bb&x=1"


def test_the_cookie_is_secure_behind_tls_and_the_servers_own() -> None:
    protection = Protection(tokens=lambda: TOKENS, cookie=cookie_name("8081"))
    for scheme, secure in (("http", False), ("https", True)):
        cookie = ask(protection, f"/?token={TOKENS[0]}", scheme=scheme).headers["set-cookie"]
        assert cookie.startswith("batchot_token_8081=") and ("; Secure" in cookie) is secure
    both = f"batchot_token_8080=other; batchot_token_8081={TOKENS[0]}"
    assert ask(protection, headers={"cookie": both}).status_code == 200
    assert ask(protection, headers={"cookie": f"batchot_token_8080={TOKENS[0]}"}).status_code == 401
    own = f"batchot_token_8081={TOKENS[0]}"
    for others in (
        'view={"a": "b"}; ',
        "path=/x; ",
        "=; ;;; ",
        "größe=ß; ",
        "batchot_token_8081=of-the-path-above; ",
    ):
        assert ask(protection, headers={"cookie": (others + own).encode()}).status_code == 200, others
    assert re.fullmatch(r"\w+", cookie_name("/run/batchot.sock"))


def test_a_visitor_without_a_token_gets_a_field_for_it() -> None:
    protection = Protection(tokens=lambda: TOKENS, prefix="/shapes")
    html = {"accept": "text/html", "origin": "http://localhost"}
    answer = ask(protection, "/shapes/?x=1", headers=html)
    assert answer.status_code == 401 and "<label" in answer.text and "not the token" not in answer.text
    assert (
        '<form method="post">' in answer.text
    )  # to the same address: what stands after # is part of the question
    assert (
        ask(protection, "/shapes/api/v1/info", headers={"accept": "text/html"}).json()["error"]["code"]
        == "token"
    )
    for wrong in (
        ask(protection, "/shapes/?x=1", method="POST", data={"token": "no"}, headers=html),
        ask(protection, "/shapes/?x=1", method="POST", content=b"\xff%", headers=html),
        ask(protection, "/shapes/?x=1&token=no", headers=html),
    ):
        assert wrong.status_code == 401 and "That is not the token" in wrong.text
    given = {"data": {"token": f" {TOKENS[0]}\n"}, "headers": html}
    right = ask(protection, "/shapes/?x=1&token=old", method="POST", **given)
    assert right.status_code == 303 and right.headers["location"] == "/shapes/?x=1"
    assert TOKENS[0] in right.headers["set-cookie"] and "SameSite=Lax" in right.headers["set-cookie"]
    for elsewhere in ("/shapes//evil.example/", "/shapes/%5c%5cevil.example/"):
        location = ask(protection, elsewhere, method="POST", **given).headers["location"]
        assert location.startswith("/shapes/")
    evil = {**given, "headers": {**html, "origin": "https://evil.example"}}
    assert ask(protection, "/shapes/", method="POST", **evil).status_code == 403


def test_a_token_in_the_address() -> None:
    protection = Protection(tokens=lambda: ("with+and/of-base64==",))
    for sent in ("with+and/of-base64==", "with%2Band%2Fof-base64%3D%3D"):
        assert ask(protection, f"/?token={sent}").status_code == 303
    # going on with a cookie would lose the file
    refused = ask(protection, "/api/v1/search?token=with+and/of-base64==", method="POST", content=b"OFF")
    assert refused.status_code == 401 and "Bearer" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "origin", ["null", "http://[", "localhost", "http://localhost.evil.example", "x://y://localhost"]
)
def test_what_is_no_origin_of_ours(origin: str) -> None:
    assert ask(Protection(), method="POST", content=b"x", headers={"origin": origin}).status_code == 403


def test_tokens_are_exchanged_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    for _ in range(3):
        tokens._looked = 0.0
        assert tokens() == TOKENS
    assert [record.getMessage() for record in caplog.records if "at least 16" in record.getMessage()] == [
        f"the tokens cannot be read anew, those from before hold: {file}: a token must have at least 16 letters and "
        "digits, without spaces or quotes"
    ]
    file.write_bytes(b"\xef\xbb\xbf" + TOKENS[0].encode() + b"\r\n")  # as Windows writes it
    assert Tokens((), file)() == TOKENS[:1]
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


def test_a_number_that_the_index_does_not_give_hides_no_other() -> None:
    def gone() -> float:
        raise SearchError("the index is gone")

    record = Record()
    record.gauge("shapes", "of the index", gone)
    record.gauge("connections", "open", lambda: 3)
    assert b"batchot_shapes NaN" in record.text() and b"batchot_connections 3.0" in record.text()


def test_what_a_proxy_says_of_the_client_is_one_word(caplog: pytest.LogCaptureFixture) -> None:
    scope = {"method": "GET", "path": "/x"}
    with caplog.at_level(logging.INFO, "batchot.access"):
        Record()(scope, "1.2.3.4 GET /fake 200\x9b31m" + "x" * 999, 200, 1, 0.1)
    line = caplog.records[0].getMessage()
    assert line.isprintable() and len(line.split()) == 6 and len(line) < 100


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


def test_what_comes_together_with_another_request_has_a_deadline_too() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    half = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx"
    door = Door(arrive_seconds=1.0)
    with listening(door) as port:
        start = time.monotonic()
        with connect(port, whole + half) as connection:
            said = closed(connection)
        assert b" 200 " in said and b" 408 " in said and 0.9 < time.monotonic() - start < 6
        with connect(
            port, whole + half + b"x" * 99 + whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        ) as three:
            assert closed(three).count(b" 200 ") == 3
        assert not door.waiting and not door.shares.used


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /?x=",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
    ],
)
def test_a_head_without_end_is_cut_off(begun: bytes) -> None:
    with listening(Door()) as port:
        connection, sent = connect(port, begun), 0
        with contextlib.suppress(OSError):
            for _ in range(1000):
                connection.sendall(b"x" * 65536)
                sent += 65536
                time.sleep(0.001)
        assert sent < 20_000_000  # what is in the buffers of the sockets
        chunked = (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with connect(
            port, chunked + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
        ) as other:  # small parts are no flood
            assert b'"bytes": 50000' in closed(other)


def test_who_wants_another_protocol_is_answered_and_told_no_more(caplog: pytest.LogCaptureFixture) -> None:
    wanted = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with (
        caplog.at_level(logging.INFO, "uvicorn"),
        listening(Door()) as port,
        connect(port, wanted) as connection,
    ):
        assert closed(connection).startswith(b"HTTP/1.1 200")
    assert not any("pgrade" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("local", "local"),
    ],
)
def test_a_client_has_all_addresses_of_its_network(address: str, client: str) -> None:
    assert client_of(address) == client


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
