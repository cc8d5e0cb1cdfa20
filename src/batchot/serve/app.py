"""The whole server: page, API, and what every request has to pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from batchot.errors import require
from batchot.search.searcher import Searcher
from batchot.serve.api import add_api, add_health
from batchot.serve.door import Door
from batchot.serve.guard import Guard, Protection, Refused
from batchot.serve.record import Record
from batchot.serve.work_queue import Busy, WorkQueue

_ABOUT = (
    "Look up shapes of an index by a mesh, a point cloud, a picture or a drawing. Errors are "
    '`{"error": {"code", "message"}}`. Where the server asks for a token, send `Authorization: Bearer TOKEN`.'
)
_PAGE = Path(str(files("batchot.serve")))
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def make_app(searcher: Searcher, protection: Protection, door: Door, queue: WorkQueue) -> ASGIApp:
    """Make the server of an index."""
    from batchot import __version__

    record = Record()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()
        await asyncio.to_thread(searcher.close)

    app = FastAPI(
        title="batchot search",
        description=_ABOUT,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    add_api(app, searcher, queue)
    add_health(app, searcher, queue)
    _add_description(app, protection)
    _add_page(app)

    def admit(client: str, n: int) -> None:
        try:
            queue.check(client, n)
        except Busy as busy:
            raise Refused(
                503, "busy", f"{busy}; try again in {busy.retry_after} s", busy.retry_after
            ) from busy

    guard = Guard(app, protection, record, admit)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(record.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    record.gauge("queue_waiting", "Files that wait to be read", lambda: queue.waiting)
    record.gauge("queue_running", "Files that are being read", lambda: queue.running)
    wait = "Seconds that a drawing would wait to be read, as expected"
    record.gauge("queue_wait_seconds", wait, lambda: queue.expected_wait("", "drawing"))
    record.gauge("reader_processes", "Processes that read files", lambda: searcher.sandbox.alive)
    record.gauge("connections", "Open connections", lambda: door.shares.used)
    record.gauge("refused_connections", "Connections that were closed", lambda: door.refused.total())
    record.gauge("requests_at_once", "Requests that are being answered", lambda: guard.requests.used)
    record.gauge("body_bytes", "Bytes of requests in memory", lambda: guard.bytes.used)
    record.gauge("shapes", "Shapes of the index", lambda: len(searcher.store))
    return guard


def _add_page(app: FastAPI) -> None:
    """The page, from files: what a visitor sees and has asked for is in the browser alone."""
    nicegui = find_spec("nicegui")  # ships Vue, three.js and ECharts as browsers load them
    if nicegui is None or not nicegui.submodule_search_locations:
        require("nicegui", "search")
        raise AssertionError
    parts = Path(nicegui.submodule_search_locations[0])
    there = {path.name for path in _PAGE.iterdir() if path.suffix in _KINDS}

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "page.html", headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(_PAGE / "icon.svg", media_type="image/svg+xml")

    @app.get("/static/page/{name}", include_in_schema=False)
    def part(name: str) -> FileResponse:
        if name not in there:
            raise HTTPException(404)
        kind = _KINDS[Path(name).suffix]
        return FileResponse(_PAGE / name, media_type=kind, headers={"cache-control": "no-cache"})

    for name, folder in {
        "vue": parts / "static",
        "three": parts / "elements" / "scene" / "dist",
        "echarts": parts / "elements" / "echart" / "dist",
    }.items():
        app.mount(f"/static/{name}", StaticFiles(directory=folder), name=name)


def _add_description(app: FastAPI, protection: Protection) -> None:
    """The description, and the same as a page, from files that lie on this machine."""
    bundle = Path(require("swagger_ui_bundle", "search").swagger_ui_path)
    app.mount("/api/docs/assets", StaticFiles(directory=bundle), name="swagger")

    @app.get("/api/openapi.json", include_in_schema=False)
    def description(request: Request) -> dict[str, Any]:
        described = deepcopy(app.openapi())
        for path in described["paths"].values():
            for operation in path.values():  # a wrong parameter is a 400 here
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
                if "security" in operation and not protection.tokens():
                    operation["security"].append({})  # it may be left out
        return {**described, "servers": [{"url": request.scope.get("root_path") or "/"}]}

    @app.get("/api/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        here = f"{request.scope.get('root_path', '')}/api"
        return get_swagger_ui_html(
            openapi_url=f"{here}/openapi.json",
            title="batchot search API",
            swagger_js_url=f"{here}/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{here}/docs/assets/swagger-ui.css",
            swagger_favicon_url=f"{here}/docs/assets/favicon-32x32.png",
        )
