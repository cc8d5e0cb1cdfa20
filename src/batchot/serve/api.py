"""The search as an HTTP API."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import mimetypes
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path, get_route_path

from batchot.search import searcher as search
from batchot.search.records import Filters, NotThere, QueryRefused, SearchError, Sort, range_of
from batchot.search.searcher import Searcher
from batchot.serve.api_models import Failure, Health, Info, MapPoint, SearchAnswer, Shape
from batchot.serve.work_queue import Busy, WorkQueue

PREFIX = "/api/v1"
_LOG = logging.getLogger("batchot.serve")
_STATUS = {
    "format": 415,
    "size": 413,
    "time": 504,
    "memory": 413,
    "damaged": 422,
    "blank": 422,
    "filter": 400,
}
_TEXTS = {
    400: "A parameter is wrong, or the server does not answer to this name",
    401: "A token is needed",
    403: "The request comes from the page of another site",
    404: "There is no such shape or query",
    408: "The request did not arrive in time",
    413: "The file is too large, or needs too much memory",
    415: "The file is of a format that is not taken",
    422: "The file is damaged or blank",
    503: "The server has too much to do, or the index cannot be read now; Retry-After says when to come again",
    504: "Reading the file takes too long",
}
_ANY = (400, 401, 403, 408, 503)


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": Failure, "description": _TEXTS[status]} for status in sorted({*_ANY, *statuses})
    }


_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A mesh, a point cloud or a picture: as a form field called file, or as the body itself; up to "
        "8 fields called file are asked for as one, by the mean of their embeddings",
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
            },
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_REMEMBERED = 1000

Count = Annotated[int, Query(ge=1, le=200, description="how many results")]
Offset = Annotated[int, Query(ge=0, le=1000, description="how many of the nearest to pass over")]
Classes = Annotated[list[str], Query(alias="class", description="only shapes of these classes")]
Folders = Annotated[list[str], Query(alias="folder", description="only shapes in these folders or below")]
Text = Annotated[
    str, Query(max_length=200, description="only where name, folder or class hold each of these words")
]
Unlike = Annotated[
    list[str], Query(alias="not", max_length=50, description="ids: not these, nor what is nearly the same")
]
_MOST_FILES = 8  # of one question
_MOST_PARTS, _MOST_HEAD = 16, 8192  # of a form, and bytes before the content of a part
_MOST_ZIPPED, _ZIP_BYTES, _PIECE = 200, 256 << 20, 1 << 20
SizeText = Annotated[
    str | None, Query(max_length=100, description="longest extent, such as 120mm, 100..140mm, ..5in or 120")
]
AreaText = Annotated[str | None, Query(max_length=100, description="of the surface, such as 30..40cm2")]
VolumeText = Annotated[str | None, Query(max_length=100, description="enclosed, such as ..6000mm3")]
Within = Annotated[float, Query(ge=0, le=1000, description="per cent that a single value may be off")]
SameSize = Annotated[bool, Query(description="only shapes whose three extents are the query's")]
Order = Annotated[Sort, Query(description="order of these results; -size is the largest first")]
T = TypeVar("T")


class _Queries:
    """The queries that were embedded last, so that pages and filters need no file again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, search.Query] = OrderedDict()

    def keep(self, id: str, query: search.Query) -> None:
        """Remember a query."""
        self._kept[id] = query
        self._kept.move_to_end(id)
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def get(self, id: str) -> search.Query:
        """Give a query back."""
        query = self._kept.get(id)
        if query is None:
            raise NotThere("this query is not remembered; send the file again")
        return query


def add_api(app: FastAPI, searcher: Searcher, queue: WorkQueue) -> None:
    """Add the API to an application."""
    app.include_router(_search_routes(searcher, queue))
    app.include_router(_shape_routes(searcher))
    app.include_router(_class_routes(searcher))
    for kind in (SearchError, Busy, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _told)


_TOKEN = Depends(HTTPBearer(auto_error=False, description="only where the server asks for a token"))


def _search_routes(searcher: Searcher, queue: WorkQueue) -> APIRouter:
    api = APIRouter(prefix=PREFIX, tags=["search"], dependencies=[_TOKEN])
    queries = _Queries()

    chosen = Depends(_filters_of(searcher))

    @api.post(
        "/search",
        response_model=SearchAnswer,
        responses=_failures(404, 413, 415, 422, 504),
        openapi_extra=_BODY,
    )
    async def search_(
        request: Request,
        k: Count = 20,
        offset: Offset = 0,
        filters: Filters = chosen,
        kind: search.QueryKind = "auto",
        up: Annotated[
            Literal["auto", "z", "y"],
            Query(description="the axis of the file that points up; auto: that of the files of the index"),
        ] = "auto",
        name: Annotated[str, Query(max_length=500, description="of the file, for messages")] = "",
        sort: Order = "distance",
    ) -> SearchAnswer:
        """Find the shapes nearest to a mesh, a point cloud, a picture or a drawing."""
        files = await _files_of(request)
        client = request.client.host if request.client else "local"
        parts: list[search.Query] = []
        key = ""
        for data, named in files:

            def embed(seconds: float | None, data: bytes = data, named: str = name or named) -> search.Query:
                return searcher.embed_bytes(data, named, kind=kind, up=up, picture=True, seconds=seconds)

            part = await _unless_left(request, queue.run(client, data, embed, admitted=bool(parts)))
            parts.append(part)
            key += f"{part.fingerprint} {part.what} {part.content} {up} {name or named} "
        query = searcher.fuse(parts)
        id = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
        queries.keep(id, query)
        answer = await run_in_threadpool(searcher.search_query, query, k=k, offset=offset, filters=filters)
        return SearchAnswer.of(answer, id, sort)

    @api.get("/search", response_model=SearchAnswer, responses=_failures(404))
    def by_name(
        k: Count = 20, offset: Offset = 0, filters: Filters = chosen, sort: Order = "distance"
    ) -> SearchAnswer:
        """Find shapes by the words of their names, or list all that pass the filters; nothing is compared."""
        return SearchAnswer.of(searcher.search_names(filters, k=k, offset=offset), sort=sort)

    @api.get("/queries/{id}", response_model=SearchAnswer, responses=_failures(404))
    def again(
        id: str, k: Count = 20, offset: Offset = 0, filters: Filters = chosen, sort: Order = "distance"
    ) -> SearchAnswer:
        """Look up once more what was sent a while ago: the next page, or with other filters."""
        return SearchAnswer.of(
            searcher.search_query(queries.get(id), k=k, offset=offset, filters=filters), id, sort
        )

    @api.get("/queries/{id}/picture", response_class=Response, responses=_failures(404))
    def picture(id: str) -> Response:
        """Give the picture of a shape that was sent a while ago."""
        data = queries.get(id).picture
        if not data:
            raise NotThere("this query was a picture itself")
        return _picture(data)

    @api.get("/shapes/{id}/similar", response_model=SearchAnswer, responses=_failures(404))
    def similar(
        id: str, k: Count = 20, offset: Offset = 0, filters: Filters = chosen, sort: Order = "distance"
    ) -> SearchAnswer:
        """Find the shapes nearest to one of the index."""
        return SearchAnswer.of(searcher.similar(id, k=k, offset=offset, filters=filters), sort=sort)

    return api


def _shape_routes(searcher: Searcher) -> APIRouter:
    api = APIRouter(prefix=PREFIX, tags=["index"], dependencies=[_TOKEN])
    drawn: list[tuple[object, bytes | memoryview]] = []  # the map as it is sent: making it takes long

    @api.get("/info", response_model=Info, responses=_failures())
    def info() -> Info:
        """Say what the index holds."""
        return Info.of(searcher.about, searcher.sandbox.limits.bytes)

    @api.get("/map", response_model=list[MapPoint], responses=_failures())
    def map_() -> Response:
        """Give the embedding as a map in the plane, coordinates in -1 .. 1."""
        points = searcher.map_points()
        if not drawn or drawn[0][0] is not points:
            rows = [
                {
                    "id": id,
                    "x": round(float(x), 4),
                    "y": round(float(y), 4),
                    "class": class_name or None,
                    "name": name,
                }
                for id, (x, y), class_name, name in zip(
                    points.ids, points.xy, points.classes, points.names, strict=True
                )
            ]
            drawn[:] = [(points, JSONResponse(rows).body)]
        return Response(drawn[0][1], media_type="application/json")

    @api.get("/shapes/{id}", response_model=Shape, responses=_failures(404))
    def shape(id: str) -> Shape:
        """Describe a shape."""
        return Shape.of(searcher.shape(id), with_distance=False)

    @api.get("/shapes/{id}/thumbnail", response_class=Response, responses=_failures(404))
    def thumbnail(id: str) -> Response:
        """Give the picture of a shape."""
        return _picture(searcher.thumbnail(id))

    @api.get("/shapes/{id}/preview.glb", response_class=Response, responses=_failures(404))
    def preview(id: str) -> Response:
        """Give a mesh of few faces, or a cloud of few points, for a browser."""
        headers = {"cache-control": "private, max-age=300"}
        return Response(searcher.preview(id), media_type="model/gltf-binary", headers=headers)

    @api.get("/shapes/{id}/file", response_class=FileResponse, responses=_failures(404))
    def file(id: str) -> Response:
        """Give the file of a shape, where it still lies where it was indexed and has not changed."""
        path = searcher.original(id)
        if path is None:
            raise NotThere(
                "the file is no longer there, or has changed; preview.glb is what the index keeps of it"
            )
        return _download(path)

    @api.get("/shapes/{id}/download", response_class=Response, responses=_failures(404))
    def download(id: str) -> Response:
        """Give the file of a shape, or what the index keeps of it."""
        path = searcher.original(id)
        if path is not None:
            return _download(path)
        name = quote(_file_name(f"{Path(searcher.shape(id).name).stem}.glb"))
        headers = {"content-disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(searcher.preview(id), media_type="model/gltf-binary", headers=headers)

    @api.get("/shapes.zip", response_class=Response, responses=_failures(404, 413))
    def zipped(
        ids: Annotated[list[str], Query(alias="id", min_length=1, max_length=_MOST_ZIPPED)],
    ) -> Response:
        """Give the files of shapes as one zip archive, or what the index keeps of those that are gone."""
        return _zip_of(searcher, list(dict.fromkeys(ids)))

    return api


def _filters_of(searcher: Searcher) -> Callable[..., Filters]:
    def filters_of(
        classes: Classes = [],  # noqa: B006  FastAPI copies them
        folders: Folders = [],  # noqa: B006
        text: Text = "",
        unlike: Unlike = [],  # noqa: B006
        size: SizeText = None,
        area: AreaText = None,
        volume: VolumeText = None,
        within: Within = 10.0,
        same_size: SameSize = False,
    ) -> Filters:
        about = searcher.about
        try:
            ranges = [
                None if wanted is None else range_of(wanted, power, within)
                for power, wanted in enumerate((size, area, volume), 1)
            ]
            filters = Filters(
                tuple(dict.fromkeys(classes)),  # a thousand times the same would take a second
                tuple(dict.fromkeys(folders)),
                text=text,
                unlike=tuple(unlike),
                size=ranges[0],
                area=ranges[1],
                volume=ranges[2],
                same_size=within if same_size else None,
            )
            filters.check(about.classes, about.folders)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return filters

    return filters_of


def _class_routes(searcher: Searcher) -> APIRouter:
    api = APIRouter(prefix=PREFIX, tags=["index"], dependencies=[_TOKEN])
    chosen = Depends(_filters_of(searcher))

    @api.get("/classes", response_model=dict[str, int], responses=_failures(404))
    def classes(filters: Filters = chosen) -> dict[str, int]:
        """Give the number of shapes of each class, of those that the other filters leave."""
        return {name: count for name, count in searcher.counts(filters)[0].items() if name}

    @api.get("/folders", response_model=dict[str, int], responses=_failures(404))
    def folders(filters: Filters = chosen) -> dict[str, int]:
        """Give the number of shapes right in each folder, of those that the other filters leave."""
        return {name: count for name, count in searcher.counts(filters)[1].items() if name}

    return api


class _Pieces:
    """A file that is written from the beginning to the end, and taken away piece by piece."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.written.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def take(self) -> bytes:
        """Give what was written since."""
        taken = b"".join(self.written)
        self.written.clear()
        return taken


def _zip_of(searcher: Searcher, wanted: list[str]) -> Response:
    """A zip archive, made while it is sent, under the names of the index, so that two files of one name keep apart."""
    found = [(id, searcher.shape(id).name, searcher.original(id)) for id in wanted]
    if sum(path.stat().st_size for *_, path in found if path is not None) > _ZIP_BYTES:
        raise HTTPException(413, f"the files have more than {_ZIP_BYTES >> 20} MB; take fewer")

    def pieces() -> Iterator[bytes]:
        made = _Pieces()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for id, name, path in found:
                # no name leads out of the folder that it is unpacked into
                parts = [_file_name(part) for part in name.split("/") if part not in ("", ".", "..")]
                member = "/".join(parts) + ("" if path is not None else ".glb")
                while member in archive.namelist():  # it was another name before it could be saved under
                    folder, slash, last = member.rpartition("/")
                    member = f"{folder}{slash}_{last}"
                with archive.open(member, "w") as file, _opened(searcher, id, path) as content:
                    while data := content.read(_PIECE):
                        file.write(data)
                        yield made.take()
        yield made.take()

    headers = {"content-disposition": 'attachment; filename="shapes.zip"'}
    return StreamingResponse(pieces(), media_type="application/zip", headers=headers)


def _opened(searcher: Searcher, id: str, path: Path | None) -> IO[bytes]:
    return io.BytesIO(searcher.preview(id)) if path is None else path.open("rb")


def add_health(app: FastAPI, searcher: Searcher, queue: WorkQueue) -> None:
    """Add what tells whether the server is well."""

    def look() -> bool:
        try:
            searcher.sandbox.check()
            searcher.store.check()
            return queue.expected_wait("", "drawing") <= queue.wait_seconds
        except SearchError as error:
            _LOG.warning("not ready: %s", error)
            return False

    failing: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "It cannot answer now"}}

    @app.get("/health/live", response_model=Health, tags=["health"])
    async def live(response: Response) -> Health:
        """Say that the server runs."""
        return Health(status="ok", live=True, ready=True)

    @app.get("/health", response_model=Health, responses=failing, tags=["health"])
    @app.get("/health/ready", response_model=Health, responses=failing, tags=["health"])
    @app.get(f"{PREFIX}/health", response_model=Health, responses=failing, tags=["health"])
    def ready(response: Response) -> Health:
        """Say whether the server can answer: it looks into the index, and for the processes that read files."""
        response.status_code = 200 if (well := look()) else 503
        return Health(status="ok" if well else "failing", live=True, ready=well)


def _picture(data: bytes) -> Response:
    kind = "image/webp" if data[8:12] == b"WEBP" else "image/png"
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=300"})


def _download(path: Path) -> Response:
    name = _file_name(path.name)
    return FileResponse(
        path, media_type=mimetypes.guess_type(name)[0] or "application/octet-stream", filename=name
    )


def _file_name(name: str) -> str:
    """A name that any browser can save under, whatever bytes it has."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() and c not in '"\\/' else "_" for c in text) or "shape"


async def _unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do work as long as the client waits for it."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _files_of(request: Request) -> list[tuple[bytes, str]]:
    """What was sent, and how it is called; nothing of it is written to a place that it names."""
    body, kind = await request.body(), request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        return [(body, "")]
    files = _files_in(body, parse_options_header(kind[:_MOST_HEAD])[1].get(b"boundary", b""))
    if not files:
        raise HTTPException(400, "the form has no field called file with a file in it")
    if len(files) > _MOST_FILES:
        raise HTTPException(
            400, f"the form has {len(files)} files; {_MOST_FILES} at most are asked for as one"
        )
    return files


def _files_in(form: bytes, boundary: bytes) -> list[tuple[bytes, str]]:
    """The files of a form and their names. What looks at each byte in turn would let nobody else be answered."""
    first, *pieces = form.split(b"\r\n--" + boundary, _MOST_PARTS)
    if boundary and first.startswith(b"--" + boundary):
        pieces.insert(0, first[2 + len(boundary) :])
    files: list[tuple[bytes, str]] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return files
        head, end, data = piece.partition(b"\r\n\r\n")
        if not end or len(head) > _MOST_HEAD:
            break
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            options = parse_options_header(value)[1] if name.lower() == b"content-disposition" else {}
            if options.get(b"name") == b"file" and b"filename" in options:
                files.append((data, options[b"filename"].decode("utf-8", "replace")))
    raise HTTPException(400, f"the form is damaged or cut off, or has more than {_MOST_PARTS} parts")


def _failure(status: int, code: str, message: str, retry_after: int | None = None) -> JSONResponse:
    headers = None if retry_after is None else {"retry-after": str(retry_after)}
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _told(request: Request, error: Exception) -> Response:
    """What went wrong, as an answer."""
    match error:
        case QueryRefused():
            return _failure(_STATUS[error.reason], error.reason, str(error))
        case Busy():
            return _failure(503, "busy", f"{error}; try again in {error.retry_after} s", error.retry_after)
        case NotThere():
            return _failure(404, "missing", str(error))
        case SearchError():
            _LOG.error("%s", error)  # where the index lies is for the log alone
            return _failure(
                503, "index", "the index cannot be read now; whoever runs the server finds why in its log", 10
            )
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
            return _failure(400, "parameter", f"{where}: {first['msg']}")
        case HTTPException():
            return _http(request, error)
    return _failure(500, "internal", "the server failed; its log says why, try again later")


def _http(request: Request, error: HTTPException) -> Response:
    code = {400: "parameter", 404: "missing", 405: "method"}.get(error.status_code, "http")
    detail = (
        "there is nothing at this address; /api/docs says what there is"
        if error.detail == "Not Found"
        else error.detail
    )
    failure = _failure(error.status_code, code, str(detail))
    failure.headers.update(error.headers or {})
    if error.status_code == 405:  # an address may have several routes, of which the error knows the first
        here = get_route_path(request.scope)
        paths = request.app.openapi()["paths"].items()
        allowed = {
            method.upper()
            for path, methods in paths
            if compile_path(path)[0].match(here)
            for method in methods
        }
        if allowed:
            failure.headers["allow"] = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
    return failure
