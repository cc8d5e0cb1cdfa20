"""``batchot serve``: search an index in a web page and over HTTP."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import ipaddress
import os
import secrets
import signal
import socket
import stat
import sys
from pathlib import Path
from urllib.parse import quote

from batchot.commands.common import FAILURE, Parser, UsageError, add, fail

_LIMITS: tuple[tuple[str, int | float, str], ...] = (
    ("--upload-mb", 64, "that a file may have (64)"),
    ("--upload-seconds", 20.0, "that reading it may take (20)"),
    ("--upload-memory-mb", 1024, "and use (1024)"),
    ("--request-seconds", 60.0, "in which a request must arrive (60)"),
    (
        "--wait-seconds",
        10.0,
        "that a file may be expected to wait for others; one that would wait longer is refused at once (10)",
    ),
)
_END_SECONDS = 2  # for answers that are being given when the server is told to end


def serve(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    _check(options)
    others = not _is_loopback(options.host) and options.uds is None

    from batchot.search.manifest import IndexFolder, Manifest
    from batchot.serve.guard import Tokens

    Manifest.read(IndexFolder(options.index).manifest)
    given = tuple(filter(None, [options.token or os.environ.get("BATCHOT_TOKEN")]))
    if others and not given and options.token_file is None:
        given = (secrets.token_urlsafe(24),)
    try:
        tokens = Tokens(given, options.token_file)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        listener = _listen(options)
    except OSError as error:
        where = options.uds or f"{options.host} port {options.port}"
        hint = "; another server may run there" if error.errno == errno.EADDRINUSE else ""
        return fail(f"cannot listen at {where}: {error.strerror or error}{hint}", FAILURE)
    if options.uds is None:
        options.port = listener.getsockname()[1]  # 0 was any free one
    with contextlib.closing(listener):
        return _run(options, tokens, listener, others)


def _parser() -> Parser:
    parser = Parser(
        prog="batchot serve",
        description="Search an index in a web page: by drawing, by file, by what was found. The same as an HTTP API "
        "under /api/v1, described at /api/docs. Only this machine can reach it, unless --host says otherwise; then "
        "every request needs a token. docs/operator.md has how to run it for others.",
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="folder made by batchot index build")
    place = parser.add_argument_group("where it is reached")
    place.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)"
    )
    place.add_argument("--port", type=int, default=8080, help="port to listen on (8080); 0 takes a free one")
    place.add_argument(
        "--uds", type=Path, metavar="SOCKET", help="listen on a Unix socket instead, for a proxy"
    )
    place.add_argument(
        "--root-path", default="", metavar="/PREFIX", help="part of the site that a proxy gives this server"
    )
    place.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name by which a proxy is reached; may be given often",
    )
    who = parser.add_argument_group("who may ask")
    who.add_argument(
        "--token", help="that every request must bring (default: $BATCHOT_TOKEN; made where --host needs one)"
    )
    who.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="tokens, one a line, any of which is good; read again when it changes",
    )
    model = parser.add_argument_group("what is asked")
    add(model, "--model")
    add(model, "--store")
    add(parser, "--allow-store")
    add(parser, "--device")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="that read uploaded files (one a core); one more is for small ones",
    )
    for name, default, text in _LIMITS:
        limits.add_argument(
            name,
            type=type(default),
            default=default,
            metavar="N" if isinstance(default, int) else "S",
            help=text,
        )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="of what is written to stderr; a line for each request from info on (info)",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.port < 65536:
        raise UsageError(f"--port must lie in 0 .. 65535, got {options.port}")
    for name, *_ in _LIMITS:
        if (value := getattr(options, name[2:].replace("-", "_"))) <= 0:
            raise UsageError(f"{name} must be positive, got {value}")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"--processes must be at least 1, got {options.processes}")
    options.root_path = options.root_path.rstrip("/")
    if options.root_path and (not options.root_path.startswith("/") or "//" in options.root_path):
        raise UsageError(f"--root-path must begin with one /, such as /shapes, got {options.root_path!r}")
    for name in options.allow_host:
        if not name or set(name) & set("/: *"):
            raise UsageError(
                f"--allow-host takes a name without port, such as search.example.org, got {name!r}"
            )


def _listen(options: argparse.Namespace) -> socket.socket:
    """The socket, before anything else is done: what cannot be reached need not be loaded."""
    if options.uds is None:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    path: Path = options.uds
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(socket.AF_UNIX) as probe:
                    if probe.connect_ex(str(path)) == 0:
                        raise OSError(errno.EADDRINUSE, "Address already in use")
                path.unlink()  # left over by a server that was killed
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def _run(options: argparse.Namespace, tokens: object, listener: socket.socket, others: bool) -> int:
    from batchot.errors import require
    from batchot.search.sandbox import Limits, Sandbox
    from batchot.search.searcher import Searcher
    from batchot.serve.app import make_app
    from batchot.serve.door import Door
    from batchot.serve.guard import Protection, Tokens, cookie_name
    from batchot.serve.record import log_to_stderr
    from batchot.serve.work_queue import WorkQueue
    from batchot.workers.process import usable_cores

    uvicorn = require("uvicorn", "search")
    assert isinstance(tokens, Tokens)
    log_to_stderr(options.log_level)
    limits = Limits(
        time=options.upload_seconds, memory=options.upload_memory_mb << 20, bytes=options.upload_mb << 20
    )
    workers = options.processes or usable_cores()
    _share_cores(workers)
    with Searcher.open(
        options.index,
        model=options.model,
        store=options.store,
        device=options.device,
        sandbox=lambda inputs: Sandbox(inputs, processes=workers + 1, limits=limits),
        allow_store=options.allow_store,
    ) as searcher:
        protection = Protection(
            tokens,
            None if others and not options.allow_host else frozenset({*options.allow_host, options.host}),
            options.root_path,
            cookie_name(str(options.uds or options.port)),
            limits.bytes + (1 << 20),  # a form has some bytes around the file
        )
        door = Door(arrive_seconds=options.request_seconds)
        proxies = os.environ.get("FORWARDED_ALLOW_IPS", "")  # beside those of this machine
        app = make_app(searcher, protection, door, WorkQueue(workers, options.wait_seconds))
        searcher.warm_up()
        _tell(options, tokens, searcher.about.count)
        config = uvicorn.Config(
            app,
            http=door.protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_END_SECONDS,
            # the proxy on this machine says who asks; of several the last, as anybody may send more before it
            forwarded_allow_ips=proxies if proxies == "*" else f"127.0.0.1,::1,{proxies}",
        )
        server = uvicorn.Server(config)
        for told in (signal.SIGINT, signal.SIGTERM):
            # uvicorn ends in good order, and then raises what it was told to end by once more
            signal.signal(told, lambda *_: None)
        if (
            sys.stdin is None or not sys.stdin.isatty()
        ):  # a service is told to read anew what has changed, which it does unasked
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            server.run(sockets=[listener])
        finally:
            if options.uds is not None:
                options.uds.unlink(missing_ok=True)
    if not server.started:
        return FAILURE
    # All is closed: what libraries would still tidy up, and threads that are at work, need not be waited for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _share_cores(workers: int) -> None:
    """Let each file that is embedded have its part of the cores: threads of one that wait for each other spin."""
    if importlib.util.find_spec("torch") is None:  # an export needs none
        return
    import torch

    from batchot.workers.process import usable_cores

    torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() // workers)))


def _tell(options: argparse.Namespace, tokens: object, count: int) -> None:
    print(f"{count:,} shapes of {options.index}", flush=True)
    if options.uds is not None:
        print(f"listens on {options.uds} for a proxy   Ctrl-C ends the server", flush=True)
        return
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{options.port}{options.root_path}/"
    given = getattr(tokens, "given", ())
    file = "" if options.token_file is None else f"   (tokens: {options.token_file})"
    print(f"open {address}" + (f"?token={quote(given[0])}" if given else "") + file, flush=True)
    print(f"HTTP API: {address}api/docs   Ctrl-C ends the server", flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
