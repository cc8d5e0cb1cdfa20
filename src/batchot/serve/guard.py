"""What every request has to pass, whatever answers it: prefix, host, origin, token, size and number."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchot.files import stamp_of
from batchot.search.records import printable
from batchot.serve.door import Shares, client_of
from batchot.serve.record import Record

_LOG = logging.getLogger("batchot.serve")
OPEN = ("/health", "/health/live", "/health/ready", "/api/v1/health")
"""Paths that need no token, and answer to any name: they say whether the server is well, and nothing else."""
LEAST_TOKEN = 16
_DOCS = "/api/docs"
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{inline}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SMALL = 4096  # bytes of the form for a token


class Tokens:
    """The tokens of which a request must bring one; none are asked for where there are none."""

    def __init__(self, given: tuple[str, ...] = (), file: Path | None = None) -> None:
        self.given, self.file = given, file
        self._read: tuple[str, ...] = ()
        self._stamp: tuple[int, ...] = ()
        self._looked, self._fault = 0.0, ""
        for token in given:
            _check_token(token)
        if file is not None:
            self._stamp = stamp_of(file)
            self._read = self._of_file(file)

    def __call__(self) -> tuple[str, ...]:
        """Give the tokens that are good now."""
        if self.file is not None and time.monotonic() - self._looked > 1:
            self._looked = time.monotonic()
            try:
                if (stamp := stamp_of(self.file)) != self._stamp:
                    self._read, self._stamp, self._fault = self._of_file(self.file), stamp, ""
            except (OSError, ValueError) as error:  # half written, or being replaced: the old ones hold
                if str(error) != self._fault:
                    self._fault = str(error)
                    what = printable(f"{self.file}: {self._fault}")
                    _LOG.warning("the tokens cannot be read anew, those from before hold: %s", what)
        return self.given + self._read

    @staticmethod
    def _of_file(file: Path) -> tuple[str, ...]:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        tokens = tuple(line for line in lines if line)
        if not tokens:
            raise ValueError(f"{file} has no token: write one into each line")
        for token in tokens:
            _check_token(token)
        return tokens


def _check_token(token: str) -> None:
    if (
        len(token) < LEAST_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or set(token) & set(' ";,\\')
    ):
        raise ValueError(
            f"a token must have at least {LEAST_TOKEN} letters and digits, without spaces or quotes"
        )


@dataclass(frozen=True)
class Protection:
    """Limits on who may ask, and for how much."""

    tokens: Callable[[], tuple[str, ...]] = tuple  # of which every request must bring one
    # names that the server answers to beside those of this machine; None: any
    hosts: frozenset[str] | None = frozenset()
    prefix: str = ""  # of all paths, where a proxy gives the server a part of a site, such as "/shapes"
    # name of the cookie that holds the token: no other server of this machine should have the same
    cookie: str = "batchot_token"
    body_bytes: int = 65 << 20  # of a request
    # of the bodies of all requests, of which a client may have as many as are left free
    waiting_bytes: int = 512 << 20
    at_once: int = 200  # requests that may be worked on, of which a client may have as many as are left free


class Refused(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


class Guard:
    """An ASGI application in front of another."""

    def __init__(
        self, app: ASGIApp, protection: Protection, record: Record, admit: Callable[[str, int], None]
    ) -> None:
        self.app, self.protection, self.record, self.admit = app, protection, record, admit
        self.requests, self.bytes = Shares(protection.at_once), Shares(protection.waiting_bytes)
        self.hosts = {host.lower().rstrip(".") for host in protection.hosts or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # uvicorn's own scope stays: by it a HEAD may go without its body
        method, scope = scope["method"], dict(scope)
        address = scope["client"][0] if scope.get("client") else "local"
        client = client_of(address)
        scope["client"] = (client, 0)
        answer = _Answer(scope, send)
        start = time.perf_counter()
        try:
            await self._answer(scope, receive, answer, client)
        except Refused as refused:
            await _refuse(answer, refused)
        except ClientDisconnect:
            answer.status = answer.status or 499  # the client has left
        except Exception as error:
            # an answer that was begun stays without its end, so that it does not look whole
            self.record.failure(scope, error)
            if not answer.started:
                await _refuse(answer, Refused(500, "internal", "the server failed; its log says why"))
        finally:
            seconds = time.perf_counter() - start
            self.record({**scope, "method": method}, address, answer.status or 499, answer.bytes, seconds)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, client: str) -> None:
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        path = self._take_prefix(scope)
        if path is None:
            query = scope.get("query_string", b"").decode("latin-1")
            return await _redirect(answer, f"{self.protection.prefix}/" + (query and f"?{query}"), status=308)
        if path not in OPEN:
            self._check_source(headers, scope["method"])
            if await self._check_token(headers, scope, receive, answer, path):
                return
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        length = self._length(headers)
        if scope["method"] == "POST":
            self.admit(client, length)
        body = await self._body(receive, client, self.protection.body_bytes)
        try:
            if not self.requests.take(client):
                raise _busy("the server has much to do; try again in a moment")
            try:
                await self.app(scope, _replay(body, receive), answer)
            finally:
                self.requests.give(client)
        finally:
            self.bytes.give(client, len(body))

    def _take_prefix(self, scope: Scope) -> str | None:
        """The path without the prefix, whether the proxy has taken it off or not; None for the prefix itself."""
        prefix, path = self.protection.prefix, str(scope["path"])
        if prefix and path == prefix:
            return None
        if prefix and path.startswith(f"{prefix}/"):
            path = path[len(prefix) :]
        scope["root_path"], scope["path"] = prefix, prefix + path
        scope["raw_path"] = quote(prefix + path).encode()
        return path

    def _check_source(self, headers: Mapping[str, str], method: str) -> None:
        host = headers.get("host", "")
        if self.protection.hosts is not None and not self._is_ours(host):
            # a page elsewhere may give its own name this machine's address
            raise Refused(
                400,
                "host",
                "this server does not answer to that name; start it with --allow-host NAME for it",
            )
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        changes = method not in ("GET", "HEAD", "OPTIONS")
        if changes and origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "origin", "requests from pages of other sites are refused")
        opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site not in ("none", "same-origin") and (changes or not opened):  # a link may lead here, no more
            raise Refused(403, "origin", "requests from pages of other sites are refused")

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    async def _check_token(
        self, headers: Mapping[str, str], scope: Scope, receive: Receive, answer: _Answer, path: str
    ) -> bool:
        """Pass, refuse, or answer: with a form for that address, or by going on with a cookie in place of the token."""
        tokens = self.protection.tokens()
        if not tokens:
            return False
        given = headers.get("authorization", "")
        if given.lower().startswith("bearer ") and _among(given[7:].strip(), tokens):
            return False
        # browsers also send what other servers of this machine have set, which may be anything
        cookies = [pair.strip().partition("=") for pair in headers.get("cookie", "").split(";")]
        if any(name == self.protection.cookie and _among(value, tokens) for name, _, value in cookies):
            return False
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        sent = query.pop("token", [])
        page = "text/html" in headers.get("accept", "") and not path.startswith("/api/v1")
        if page and scope["method"] == "POST":
            body = await self._body(receive, "login", _SMALL)
            self.bytes.give("login", len(body))
            sent = parse_qs(body.decode("utf-8", "replace")).get("token", [""])
        elif scope["method"] not in ("GET", "HEAD"):
            sent = []  # what was sent would be lost on the way
        # a + in an address stands for a space, which no token has
        sent = [token.strip().replace(" ", "+") for token in sent]
        token = next((token for token in sent if _among(token, tokens)), None)
        rest = urlencode(query, doseq=True)
        location = self.protection.prefix + "/" + quote(path.lstrip("/")) + (f"?{rest}" if rest else "")
        if token is not None:
            await _redirect(answer, location, self._cookie(token, scope))
        elif page:
            await _form(answer, wrong=bool(sent))
        else:
            raise Refused(
                401,
                "token",
                "a token is needed: send Authorization: Bearer TOKEN, or open the page in a browser",
            )
        return True

    def _cookie(self, token: str, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        path = f"{self.protection.prefix}/"
        # Lax: with Strict a link in a mail would ask for the token anew; who may change anything is asked elsewhere
        return f"{self.protection.cookie}={token}; Path={path}; HttpOnly; SameSite=Lax{secure}"

    def _length(self, headers: Mapping[str, str]) -> int:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Refused(400, "length", "the length of the request is no number")
        if int(length) > self.protection.body_bytes:
            raise _too_large(self.protection.body_bytes)
        return int(length)

    async def _body(self, receive: Receive, client: str, most: int) -> bytes:
        """The whole body; its bytes count until they are given back."""
        parts: list[bytes] = []
        n, more = 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part, more = message.get("body", b""), message.get("more_body", False)
                if n + len(part) > most:
                    raise _too_large(most)
                if not self.bytes.take(client, len(part)):
                    raise _busy("too many large files at once; try again in a moment")
                n += len(part)
                parts.append(part)
        except BaseException:
            self.bytes.give(client, n)
            raise
        return b"".join(parts)


class _Answer:
    """Sends an answer with the headers that keep a browser from doing what a page did not mean."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.send, self.started, self.status, self.bytes = send, False, 0, 0
        self.head = scope["method"] == "HEAD"
        self.inline = " 'unsafe-inline'" if str(scope["path"]).endswith(_DOCS) else ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            policy = {"content-security-policy": _CONTENT_POLICY.format(inline=self.inline)}
            ours = [(name.encode(), value.encode()) for name, value in {**_HEADERS, **policy}.items()]
            message = {**message, "headers": [*message.get("headers", []), *ours]}
        elif message["type"] == "http.response.body":
            if self.head:
                message = {**message, "body": b""}
            self.bytes += len(message.get("body", b""))
        await self.send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def once() -> Message:
        nonlocal given
        if given:  # waiting for the client to leave takes as long as it takes
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _busy(message: str) -> Refused:
    return Refused(503, "busy", message, 1)


def _too_large(limit: int) -> Refused:
    return Refused(413, "size", f"a request may have {limit:,} bytes; simplify or shrink the file")


def _among(given: str, tokens: tuple[str, ...]) -> bool:
    # all are compared, so that the time says nothing
    return any([hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()) for token in tokens])


async def _refuse(answer: _Answer, refused: Refused) -> None:
    body = json.dumps({"error": {"code": refused.code, "message": refused.message}}).encode()
    headers = {
        "content-type": "application/json",
        "connection": "close",
    }  # what is left of the body is not read
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    await _send(answer, refused.status, headers, body)


async def _redirect(answer: _Answer, location: str, cookie: str | None = None, status: int = 303) -> None:
    headers = {"location": location}
    if cookie is not None:
        headers["set-cookie"] = cookie
    await _send(answer, status, headers, b"")


async def _form(answer: _Answer, *, wrong: bool) -> None:
    """A field for the token."""
    alert = '<p role="alert">That is not the token. Mind capitals, and copy it whole.</p>' if wrong else ""
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Token needed: search by shape</title><link rel="icon" href="data:,"><style>
:root {{ color-scheme: light dark; }} body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0; display: grid;
place-items: center; min-height: 100vh; }} main {{ width: min(26rem, 90vw); }} h1 {{ font-size: 1.3rem; }}
label {{ display: block; font-weight: 600; }} input, button {{ font: inherit; box-sizing: border-box; width: 100%;
padding: .6rem; margin: .3rem 0 .8rem; border-radius: 8px; border: 1px solid #767f87; }}
button {{ background: #00639b; color: #fff; border: 0; cursor: pointer; }}</style></head><body><main>
<h1>This search asks for a token</h1><p>Whoever runs it has one for you.</p>{alert}
<form method="post"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Go on</button></form></main></body></html>
"""
    headers = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}
    await _send(answer, 401, {**headers, "www-authenticate": "Bearer"}, body.encode())


async def _send(answer: _Answer, status: int, headers: Mapping[str, str], body: bytes) -> None:
    pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await answer({"type": "http.response.start", "status": status, "headers": pairs})
    await answer({"type": "http.response.body", "body": body})


def cookie_name(address: str) -> str:
    """Give a name that no other server of this machine has."""
    plain = address if address.isalnum() else hashlib.sha256(address.encode()).hexdigest()[:12]
    return f"batchot_token_{plain}"
