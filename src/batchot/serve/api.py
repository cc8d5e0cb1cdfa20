"""The search as an HTTP API."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from batchot.search.errors import QueryRefused, SearchError
from batchot.search.filters import Filters
from batchot.search.searcher import Answer, Searcher
from batchot.serve.api_models import Failure, Info, MapPoint, SearchAnswer, Shape

PREFIX = "/api/v1"
_STATUS = {"format": 415, "size": 413, "time": 504, "memory": 413, "damaged": 422, "blank": 422}
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in {
        400: "A parameter is wrong",
        413: "The file is too large, or needs too much memory",
        415: "The file is of a format that is not taken",
        422: "The file is damaged or blank",
        503: "The server has too much to do",
        504: "Reading the file takes too long",
    }.items()
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "There is no such shape"}}
_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A mesh, a point cloud or a picture: as a form field called file, or as the body itself",
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
            },
            "application/octet-stream": {"schema": _FILE},
        },
    }
}

Count = Annotated[int, Query(ge=1, le=200, description="how many results")]
Offset = Annotated[int, Query(ge=0, le=1000, description="how many of the nearest to pass over")]
Classes = Annotated[list[str], Query(alias="class", description="only shapes of these classes")]
Folders = Annotated[list[str], Query(alias="folder", description="only shapes in these folders or below")]


def add_api(app: FastAPI, searcher: Searcher) -> None:
    """Add the API to an application.

    Args:
        app: gets the routes and the answers to errors
        searcher: of the index
    """
    app.include_router(_search_routes(searcher))
    app.include_router(_shape_routes(searcher))
    app.add_exception_handler(QueryRefused, _refused)
    app.add_exception_handler(SearchError, _missing)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(HTTPException, _http)


def _search_routes(searcher: Searcher) -> APIRouter:
    api = APIRouter(prefix=PREFIX, tags=["search"])

    @api.post("/search", response_model=SearchAnswer, responses=_FAILURES, openapi_extra=_BODY)
    async def search(
        request: Request,
        k: Count = 20,
        offset: Offset = 0,
        classes: Classes = [],  # noqa: B006  FastAPI copies it
        folders: Folders = [],  # noqa: B006
        kind: Literal["auto", "shape", "picture", "sketch"] = "auto",
        up: Annotated[
            Literal["auto", "z", "y"],
            Query(description="the axis of the file that points up; auto: that of the files of the index"),
        ] = "auto",
        name: Annotated[str, Query(max_length=500, description="of the file, for messages")] = "",
    ) -> SearchAnswer:
        """Find the shapes nearest to a mesh, a point cloud, a picture or a drawing."""
        data, named = await _file_of(request)
        filters = Filters(tuple(classes), tuple(folders))
        answer: Answer = await run_in_threadpool(
            searcher.search_bytes,
            data,
            name or named,
            kind=kind,
            up=up,
            k=k,
            offset=offset,
            filters=filters,
        )
        return SearchAnswer.of(answer)

    @api.get("/shapes/{id}/similar", response_model=SearchAnswer, responses=_MISSING)
    def similar(
        id: str,
        k: Count = 20,
        offset: Offset = 0,
        classes: Classes = [],  # noqa: B006
        folders: Folders = [],  # noqa: B006
    ) -> SearchAnswer:
        """Find the shapes nearest to one of the index."""
        filters = Filters(tuple(classes), tuple(folders))
        return SearchAnswer.of(searcher.similar(id, k=k, offset=offset, filters=filters))

    return api


def _shape_routes(searcher: Searcher) -> APIRouter:
    api = APIRouter(prefix=PREFIX, tags=["index"])

    @api.get("/info", response_model=Info)
    def info() -> Info:
        """Say what the index holds."""
        return Info.of(searcher.about)

    @api.get("/classes", response_model=dict[str, int])
    def classes() -> dict[str, int]:
        """Give the number of shapes of each class."""
        return {name: count for name, count in searcher.about.classes.items() if name}

    @api.get("/map", response_model=list[MapPoint])
    def map_() -> list[MapPoint]:
        """Give the embedding as a map in the plane, coordinates in -1 .. 1."""
        points = searcher.map_points()
        return [
            MapPoint(id=id, x=float(xy[0]), y=float(xy[1]), class_name=class_name or None, name=name)
            for id, xy, class_name, name in zip(
                points.ids, points.xy, points.classes, points.names, strict=True
            )
        ]

    @api.get("/health", response_model=dict[str, str])
    def health() -> dict[str, str]:
        """Say that the server is there."""
        return {"status": "ok"}

    @api.get("/shapes/{id}", response_model=Shape, responses=_MISSING)
    def shape(id: str) -> Shape:
        """Describe a shape."""
        return Shape.of(searcher.shape(id), with_distance=False)

    @api.get("/shapes/{id}/thumbnail", response_class=Response, responses=_MISSING)
    def thumbnail(id: str) -> Response:
        """Give the picture of a shape."""
        data = searcher.thumbnail(id)
        kind = "image/webp" if data[8:12] == b"WEBP" else "image/png"
        return Response(data, media_type=kind, headers={"cache-control": "private, max-age=300"})

    @api.get("/shapes/{id}/preview.glb", response_class=Response, responses=_MISSING)
    def preview(id: str) -> Response:
        """Give a mesh of few faces, or a cloud of few points, for a browser."""
        headers = {"cache-control": "private, max-age=300"}
        return Response(searcher.preview(id), media_type="model/gltf-binary", headers=headers)

    @api.get("/shapes/{id}/file", response_class=FileResponse, responses=_MISSING)
    def file(id: str) -> FileResponse:
        """Give the file of a shape, where it still lies where it was indexed and has not changed."""
        path = searcher.original(id)
        if path is None:
            raise SearchError(
                "the file is no longer there, or has changed; preview.glb is what the index keeps of it"
            )
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return FileResponse(path, media_type=kind, filename=path.name)

    return api


async def _file_of(request: Request) -> tuple[bytes, str]:
    """The content that was sent, and how it is called; nothing of it is written to a place that it names."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body(), ""
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise HTTPException(400, "the form has no field called file with a file in it")
        return await file.read(), file.filename or ""


def _failure(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueryRefused)
    return _failure(_STATUS[error.reason], error.reason, str(error))


async def _missing(request: Request, error: Exception) -> Response:
    return _failure(404, "missing", str(error))


async def _wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _failure(400, "parameter", f"{where}: {first['msg']}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _failure(error.status_code, "http", str(error.detail))
