"""Connections: deadlines, limits, a share for each client."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import resource
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = 64 << 10  # bytes of a request beside its body
_LOCAL = ("127.0.0.1", 0)  # whoever uses a Unix socket


def client_of(address: str) -> str:
    """Give whose address it is: of IPv6 its network of 64 bits, of which a client has every address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Address(found.packed[:8] + bytes(8)))


class Shares:
    """A quantity of which a client may hold at most as much as is left free."""

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self.held: Counter[str] = Counter()

    def has(self, client: str, n: int = 1) -> bool:
        """Say whether a client may take so much."""
        return self.held[client] + n <= self.total - self.used

    def take(self, client: str, n: int = 1) -> bool:
        """Take so much, or nothing where that is too much."""
        if not self.has(client, n):
            return False
        self.used += n
        self.held[client] += n
        return True

    def give(self, client: str, n: int = 1) -> None:
        """Give back what was taken."""
        self.used -= n
        self.held[client] -= n
        if self.held[client] <= 0:
            del self.held[client]


class Door:
    """All connections of a server."""

    def __init__(
        self, *, arrive_seconds: float = 60.0, take_seconds: float = 120.0, connections: int = 2000
    ) -> None:
        self.arrive_seconds, self.take_seconds = arrive_seconds, take_seconds
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.shares = Shares(min(connections, max(16, files // 2)))
        self.refused: Counter[str] = Counter()  # by reason
        # connections whose request has not arrived as a whole, the oldest first
        self.waiting: dict[str, dict[_Connection, None]] = {}

    def protocol(self, *args: Any, **kwargs: Any) -> _Connection:
        """What uvicorn takes as its protocol."""
        return _Connection(self, *args, **kwargs)

    def admit(self, connection: _Connection) -> bool:
        """Count a new one in; where the client has too many, its oldest one that waits for nothing goes."""
        if not self.shares.take(connection.address):
            oldest = next(iter(self.waiting.get(connection.address, ())), None)
            if oldest is None:
                return False
            oldest.refuse(503, "busy", "too many connections from your address")
            oldest.leave()
            self.shares.take(connection.address)
        return True


class _Connection(HttpToolsProtocol):
    def __init__(self, door: Door, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.door, self.address, self.inside = door, "", False
        self.sent = self.body = 0  # bytes of the request that is arriving, and of its body
        self.arriving: asyncio.TimerHandle | None = None
        self.taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = self.client or _LOCAL
        self.address = client_of(self.client[0])
        self.inside = self.door.admit(self)
        if not self.inside:
            return self.refuse(503, "busy", "too many connections from your address")
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.taking is not None:
            self.taking.cancel()
        self.leave()

    def leave(self) -> None:
        """Count it out."""
        if self.inside:
            self.inside = False
            self.door.shares.give(self.address)
        self._answering()

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer at once, whatever has arrived, and close."""
        if self.transport.is_closing():
            return
        self.door.refused[code] += 1
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = (
            f"HTTP/1.1 {status} {code}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "retry-after: 5\r\nconnection: close\r\n\r\n"
        )
        if self.arriving is not None or not self.inside:  # else nothing was asked
            self.transport.write(head.encode() + body)
        self.transport.close()
        self.loop.call_later(1.0, self.transport.abort)  # nobody may take even that

    def data_received(self, data: bytes) -> None:
        if self.inside and self.arriving is None and (self.cycle is None or self.cycle.response_complete):
            self._begin()
        self.sent += len(data)
        super().data_received(data)
        # chunks of a byte have five around it, and more is no body but a flood
        if self.inside and self.sent - self.body > _HEAD + 8 * self.body:
            self.refuse(431, "size", f"what stands before and around the body may have {_HEAD:,} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.sent = self.body = 0

    def on_body(self, body: bytes) -> None:
        self.body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._answering()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.inside and self.cycle.response_complete:
            self.door.waiting.setdefault(self.address, {})[self] = None  # idle: uvicorn has a timer for that
        elif self.inside and self.cycle.more_body:  # it came together with the one before, but not whole
            self._wait()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing else is spoken here: who would do so is answered as all others are, and nobody need be told."""

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.taking is None:
            self.taking = self.loop.call_later(self.door.take_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.taking is not None:
            self.taking.cancel()
            self.taking = None

    def _wait(self) -> None:
        self.door.waiting.setdefault(self.address, {})[self] = None
        self._begin()

    def _begin(self) -> None:
        late = "the request did not arrive in time"
        self.arriving = self.loop.call_later(self.door.arrive_seconds, self.refuse, 408, "slow", late)

    def _answering(self) -> None:
        if self.arriving is not None:
            self.arriving.cancel()
            self.arriving = None
        others = self.door.waiting.get(self.address)
        if others is not None:
            others.pop(self, None)
            if not others:
                del self.door.waiting[self.address]
