"""``batchot serve``: search an index in a web page and over HTTP."""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import quote

from batchot.commands.common import Parser, UsageError, add_device, guarded

_LEAST_TOKEN = 16


def serve(argv: list[str]) -> int:
    """Run the command.

    Args:
        argv: its arguments

    Returns:
        Exit status: 0 when it was stopped; 1 where the index is damaged or the port is taken.
    """
    parser = Parser(
        prog="batchot serve",
        description="Search an index in a web page: by drawing, by file, by what was found. The same as an HTTP API "
        "under /api/v1, described at /api/docs. Only this machine can reach it, unless --host says otherwise; then "
        "every request needs a token.",
        allow_abbrev=False,
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="folder made by batchot index build")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (8080)")
    parser.add_argument(
        "--token", help="that every request must bring (default: $BATCHOT_TOKEN; made where --host needs one)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="run or exported model to embed with (the index's)"
    )
    parser.add_argument("--store", metavar="URI", help="address of the store, where it has moved")
    parser.add_argument("--processes", type=int, metavar="N", help="that read uploaded files (one a core)")
    parser.add_argument("--upload-mb", type=int, default=64, metavar="N", help="that a file may have (64)")
    parser.add_argument(
        "--upload-seconds", type=float, default=20.0, metavar="S", help="that reading it may take (20)"
    )
    parser.add_argument("--upload-memory-mb", type=int, default=1024, metavar="N", help="and use (1024)")
    add_device(parser)
    options = parser.parse_args(argv)
    if not 0 < options.port < 65536:
        raise UsageError(f"--port must lie in 1 .. 65535, got {options.port}")
    for name in ("upload_mb", "upload_seconds", "upload_memory_mb"):
        if getattr(options, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be positive, got {getattr(options, name)}")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"--processes must be at least 1, got {options.processes}")
    loopback = _is_loopback(options.host)
    token = (
        options.token or os.environ.get("BATCHOT_TOKEN") or (None if loopback else secrets.token_urlsafe(24))
    )
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii() or set(token) & set(' ";,\\')):
        raise UsageError(
            f"a token must have at least {_LEAST_TOKEN} letters and digits, without spaces or quotes"
        )

    def work() -> int:
        from batchot.search.sandbox import Limits, Sandbox
        from batchot.search.searcher import Searcher
        from batchot.serve.app import make_app
        from batchot.serve.guard import Protection
        from batchot.shapes.extra import require

        uvicorn = require("uvicorn", "search")
        limits = Limits(
            time=options.upload_seconds, memory=options.upload_memory_mb << 20, bytes=options.upload_mb << 20
        )
        searcher = Searcher.open(
            options.index,
            model=options.model,
            store=options.store,
            device=options.device,
            sandbox=lambda inputs: Sandbox(inputs, processes=options.processes, limits=limits),
        )
        # a form has some bytes around the file
        protection = Protection(token, loopback, limits.bytes + (1 << 20))
        app = make_app(searcher, protection)
        searcher.sandbox.warm_up()
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{options.port}/"
        print(f"{searcher.about.count:,} shapes of {options.index}", flush=True)
        print(f"open {address}" + ("" if token is None else f"?token={quote(token)}"), flush=True)
        print(f"HTTP API: {address}api/docs   Ctrl-C ends the server", flush=True)
        config = uvicorn.Config(
            app, options.host, options.port, log_level="warning", timeout_keep_alive=15, server_header=False
        )
        server = uvicorn.Server(config)
        server.run()
        return 0 if server.started else 1

    return guarded(work)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
