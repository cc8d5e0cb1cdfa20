"""What every request has to pass, whatever answers it: host, origin, token, size and number."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "batchot_token"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss: blob: data:; "
    "worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
)
_HEADERS = (
    (b"content-security-policy", _CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Protection:
    """Limits on who may ask, and for how much.

    Args:
        token: that every request must bring; None: none is asked for
        loopback: the server listens on this machine alone, and answers to its names only
        body_bytes: of a request
        waiting_bytes: of the bodies of all requests that are being worked on
        at_once: requests that may be worked on
        body_seconds: in which a body must have arrived
    """

    token: str | None = None
    loopback: bool = True
    body_bytes: int = 65 << 20
    waiting_bytes: int = 512 << 20
    at_once: int = 200
    body_seconds: float = 60.0


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Guard:
    """An ASGI application in front of another.

    Args:
        app: answers what passes
        protection: limits
    """

    def __init__(self, app: ASGIApp, protection: Protection) -> None:
        self.app, self.protection = app, protection
        self._requests = 0
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            self._check_source(headers, scope.get("method", "GET"), scope["type"])
            if (location := self._check_token(headers, scope)) is not None:
                return await _redirect(send, location, self.protection.token or "")
            self._check_length(headers)
        except _Refused as refused:
            return await _refuse(scope, send, refused)
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        if self._requests >= self.protection.at_once:
            return await _refuse(
                scope, send, _Refused(503, "busy", "the server has much to do; try again in a moment")
            )
        self._requests += 1
        counted = _CountedBody(self, receive)
        guarded = _Headers(send, counted)
        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if counted.refused is None:
                raise
        finally:
            self._requests -= 1
            self._waiting -= counted.bytes
        if counted.refused is not None and not guarded.started:
            await _refuse(scope, send, counted.refused)

    def _check_source(self, headers: Mapping[str, str], method: str, kind: str) -> None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.protection.loopback and name not in _LOOPBACK:
            # a page elsewhere may give its own name this machine's address
            raise _Refused(
                400, "host", "this server answers to localhost only; start it with --host to serve others"
            )
        origin = headers.get("origin")
        changes = kind == "websocket" or method not in ("GET", "HEAD", "OPTIONS")
        if origin is not None and changes and urlsplit(origin).netloc != host:
            raise _Refused(403, "origin", "requests from pages of other sites are refused")

    def _check_token(self, headers: Mapping[str, str], scope: Scope) -> str | None:
        """Pass, refuse, or give where to go on with a cookie in place of the token in the address."""
        token = self.protection.token
        if token is None:
            return None
        given = headers.get("authorization", "")
        if given.lower().startswith("bearer ") and _same(given[7:].strip(), token):
            return None
        try:
            cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if COOKIE in cookies and _same(cookies[COOKIE].value, token):
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and any(_same(value, token) for value in query.pop("token", [])):
            rest = urlencode(query, doseq=True)
            path = "/" + scope["path"].lstrip("/")  # never another host
            return path + (f"?{rest}" if rest else "")
        raise _Refused(401, "token", "a token is needed: open the address that batchot serve printed")

    def _check_length(self, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length")
        if length is None:
            return
        if not length.isdigit():
            raise _Refused(400, "length", "the length of the request is no number")
        if int(length) > self.protection.body_bytes:
            raise _too_large(self.protection.body_bytes)

    def take(self, n: int) -> None:
        """Count bytes of a body that are held."""
        if self._waiting + n > self.protection.waiting_bytes:
            raise _Refused(503, "busy", "too many large files at once; try again in a moment")
        self._waiting += n


class _CountedBody:
    """The body of a request, as long as it is not too long and comes in time."""

    def __init__(self, guard: Guard, receive: Receive) -> None:
        self.guard, self.receive, self.bytes, self.whole = guard, receive, 0, False
        self.refused: _Refused | None = None

    async def __call__(self) -> Message:
        if self.whole:  # waiting for the client to leave takes as long as it takes
            return await self.receive()
        try:
            return await self._next()
        except _Refused as refused:
            self.refused = refused
            raise

    async def _next(self) -> Message:
        try:
            message = await asyncio.wait_for(self.receive(), self.guard.protection.body_seconds)
        except TimeoutError:
            raise _Refused(408, "slow", "the request did not arrive in time") from None
        if message["type"] == "http.request":
            n = len(message.get("body", b""))
            if self.bytes + n > self.guard.protection.body_bytes:
                raise _too_large(self.guard.protection.body_bytes)
            self.guard.take(n)
            self.bytes += n
            self.whole = not message.get("more_body", False)
        return message


class _Headers:
    """Adds the headers that keep a browser from doing what a page did not mean."""

    def __init__(self, send: Send, body: _CountedBody) -> None:
        self.send, self.body, self.started = send, body, False

    async def __call__(self, message: Message) -> None:
        if self.body.refused is not None and not self.started:
            return  # what the application makes of a body that was cut off is not the answer
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await self.send(message)


def _too_large(limit: int) -> _Refused:
    return _Refused(413, "size", f"a request may have {limit:,} bytes; simplify or shrink the file")


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode("utf-8", "replace"), b.encode())


async def _refuse(scope: Scope, send: Send, refused: _Refused) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refused.code})
        return
    body = json.dumps({"error": {"code": refused.code, "message": refused.message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *_HEADERS,
    ]
    headers.append((b"connection", b"close"))  # what is left of the body is not read
    if refused.status == 503:
        headers.append((b"retry-after", b"1"))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Send, location: str, token: str) -> None:
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
    headers = [
        (b"location", location.encode("latin-1", "replace")),
        (b"set-cookie", cookie.encode()),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
