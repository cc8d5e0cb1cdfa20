"""What the operator sees: a line for each request, numbers for Prometheus."""

from __future__ import annotations

import contextlib
import logging
import math
import select
import sys
from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from batchot.errors import require
from batchot.search.records import SearchError, printable

_ACCESS = logging.getLogger("batchot.access")
_LOG = logging.getLogger("batchot.serve")
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Record:
    """Counts requests and writes them down, without tokens, names of files and what was asked for."""

    def __init__(self) -> None:
        prometheus = require("prometheus_client", "search")
        self.registry = prometheus.CollectorRegistry()
        self._prometheus = prometheus
        prometheus.ProcessCollector(registry=self.registry)
        self._requests = prometheus.Counter(
            "batchot_requests",
            "Requests that were answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = prometheus.Histogram(
            "batchot_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def __call__(self, scope: Scope, client: str, status: int, n: int, seconds: float) -> None:
        """Write a request down."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        # a proxy says who asks; what it says is a word of its own all the same
        client, path = printable(client).replace(" ", "_")[:64], printable(scope["path"])[:200]
        _ACCESS.info("%s %s %s %d %d %.0fms", client, scope["method"][:16], path, status, n, 1000 * seconds)

    def failure(self, scope: Scope, error: Exception) -> None:
        """Write down what nobody expected, with where it happened."""
        _LOG.error("%s %s failed", scope["method"], printable(scope["path"])[:200], exc_info=error)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Let Prometheus see a number; NaN where the index cannot be read: the others are needed then most."""

        def known() -> float:
            try:
                return value()
            except SearchError:
                return math.nan

        self._prometheus.Gauge(f"batchot_{name}", text, registry=self.registry).set_function(known)

    def text(self) -> bytes:
        """Give all numbers as Prometheus reads them."""
        return bytes(self._prometheus.generate_latest(self.registry))


class _NeverWaits(logging.StreamHandler[Any]):
    """Leaves a line out where nobody reads the log: a full pipe must not stop the server."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # what cannot be asked does not block
            if not select.select([], [self.stream], [], 0)[1]:
                return
        super().emit(record)


def log_to_stderr(level: str) -> None:
    """Write a line for each event."""
    handler = _NeverWaits(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING if level in ("debug", "info") else level.upper())
    for name in ("batchot", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    if level != "debug":
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
