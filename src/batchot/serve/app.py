"""The whole server: page, API, and what every request has to pass."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from batchot.search.searcher import Searcher
from batchot.serve.api import add_api
from batchot.serve.guard import Guard, Protection
from batchot.shapes.extra import require

_ABOUT = (
    "Look up shapes of an index by a mesh, a point cloud, a picture or a drawing. Errors are "
    '`{"error": {"code", "message"}}`. Where the server asks for a token, send `Authorization: Bearer TOKEN`.'
)


def make_app(searcher: Searcher, protection: Protection) -> ASGIApp:
    """Make the server of an index.

    Args:
        searcher: of the index
        protection: limits on who may ask, and for how much

    Returns:
        An ASGI application. NiceGUI allows one in a process.

    Raises:
        MissingExtraError: NiceGUI is not installed
    """
    require("nicegui", "search")
    from nicegui import ui

    from batchot import __version__
    from batchot.serve.page import add_page

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        searcher.close()

    app = FastAPI(
        title="batchot search",
        description=_ABOUT,
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    add_api(app, searcher)
    _add_download(app, searcher)
    _add_docs(app)
    add_page(searcher, searcher.sandbox.limits.bytes)
    ui.run_with(app, title="batchot", language="en-US", show_welcome_message=False)
    return Guard(app, protection)


def _add_download(app: FastAPI, searcher: Searcher) -> None:
    @app.get("/download/{id}", include_in_schema=False)
    def download(id: str) -> Response:
        """Give the file of a shape, or what the index keeps of it."""
        path = searcher.original(id)
        if path is not None:
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return FileResponse(path, media_type=kind, filename=path.name)
        name = Path(searcher.shape(id).name).stem.encode("ascii", "replace").decode().replace('"', "")
        headers = {"content-disposition": f'attachment; filename="{name}.glb"'}
        return Response(searcher.preview(id), media_type="model/gltf-binary", headers=headers)


def _add_docs(app: FastAPI) -> None:
    """The description as a page, from files that lie on this machine."""
    bundle = Path(require("swagger_ui_bundle", "search").swagger_ui_path)
    app.mount("/api/docs/assets", StaticFiles(directory=bundle), name="swagger")

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/api/openapi.json",
            title="batchot search API",
            swagger_js_url="/api/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/api/docs/assets/swagger-ui.css",
            swagger_favicon_url="/api/docs/assets/favicon-32x32.png",
        )
