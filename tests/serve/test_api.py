"""The HTTP API, asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.exceptions import HTTPException

from batchot.serve.api import _files_in, _zip_of, add_api
from batchot.serve.work_queue import WorkQueue
from search_support import draw_sketch, fuzzed, made_to_harm, off_bytes, photograph
from serve_support import serving

httpx = pytest.importorskip("httpx", reason="the tests of the API need httpx")


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[object]:
    with httpx.Client(base_url=f"{server}/api/v1", timeout=60) as made:
        yield made


def upload(client, name: str, data: bytes, **params):  # type: ignore[no-untyped-def]
    return client.post("/search", files={"file": (name, data)}, params=params)


def test_what_the_index_holds(client) -> None:  # type: ignore[no-untyped-def]
    info = client.get("/info").json()
    assert info["shapes"] == 15 and info["classes"] == 3 and info["takes_drawings"] is True
    assert client.get("/classes").json() == {"airplane": 5, "bottle": 5, "stairs": 5}
    points = client.get("/map").json()
    assert len(points) == 15 and {"id", "x", "y", "class", "name"} == set(points[0])
    assert client.get("/health").json() == {"status": "ok", "live": True, "ready": True}
    assert client.get("/folders").json() == {"airplane": 5, "bottle": 5, "stairs": 5}


def test_search_by_a_form_and_by_the_body(client, sketch_run: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    data = (sketch_run[1] / "stairs" / "2.off").read_bytes()
    by_form = upload(client, "x.off", data, k=3).json()
    by_body = client.post("/search", content=data, params={"k": 3, "name": "x.off"}).json()
    assert by_form["hits"] == by_body["hits"]
    assert by_form["hits"][0]["name"] == "stairs/2.off" and by_form["hits"][0]["distance"] < 1e-3
    assert by_form["query"] == "shape" and by_form["total"] == 15 and len(by_form["hits"]) == 3
    assert set(by_form["seconds"]) == {"prepare", "embed", "search"}


def test_drawings_filters_and_pages(client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = draw_sketch(tmp_path / "a.png", "bottle", 4).read_bytes()
    everything = upload(client, "a.png", data, k=15).json()
    assert everything["query"] == "drawing" and len(everything["hits"]) == 15
    second = upload(client, "a.png", data, k=5, offset=5).json()
    assert second["hits"] == everything["hits"][5:10]
    only = upload(client, "a.png", data, **{"class": ["stairs", "airplane"], "k": 15}).json()
    assert {hit["class"] for hit in only["hits"]} == {"stairs", "airplane"} and only["total"] == 10
    folder = upload(client, "a.png", data, folder="bottle").json()
    assert {hit["folder"] for hit in folder["hits"]} == {"bottle"}


def test_a_shape_and_what_is_like_it(client, sketch_run: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    id = client.get("/map").json()[0]["id"]
    shape = client.get(f"/shapes/{id}").json()
    assert shape["id"] == id and shape["faces"] > 0 and len(shape["size"]) == 3
    similar = client.get(f"/shapes/{id}/similar", params={"k": 4}).json()
    assert len(similar["hits"]) == 4 and id not in {hit["id"] for hit in similar["hits"]}
    thumbnail = client.get(f"/shapes/{id}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/webp" and thumbnail.content[8:12] == b"WEBP"
    preview = client.get(f"/shapes/{id}/preview.glb")
    assert preview.headers["content-type"] == "model/gltf-binary" and preview.content[:4] == b"glTF"
    file = client.get(f"/shapes/{id}/file")
    assert file.content == (sketch_run[1] / shape["name"]).read_bytes()
    assert "attachment" in file.headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "/shapes/000000000000000000000000",
        "/shapes/..%2f..%2f..%2fetc%2fpasswd/file",
        "/shapes/%27%20OR%20%271%27=%271/thumbnail",
        "/shapes/x/similar",
        "/nothing",
    ],
)
def test_what_is_not_there(client, path: str) -> None:  # type: ignore[no-untyped-def]
    answer = client.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"k": 0}, "k"),
        ({"k": 10_000}, "k"),
        ({"offset": -1}, "offset"),
        ({"kind": "song"}, "kind"),
        ({"k": "x"}, "k"),
    ],
)
def test_wrong_parameters(client, params: dict, what: str) -> None:  # type: ignore[no-untyped-def]
    answer = upload(client, "a.off", off_bytes(), **params)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"{what}:")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("bomb.zip", 415, "format"),
        ("bomb.off", 415, "format"),
        ("chair.off", 422, "damaged"),
        ("many.npy", 422, "damaged"),
        ("pickle.npy", 422, "damaged"),
        ("model.pkl", 415, "format"),
        ("passwd.gltf", 422, "damaged"),
        ("huge.png", 422, "damaged"),
        ("blank.png", 422, "blank"),
        ("empty.off", 415, "format"),
    ],
)
def test_what_was_made_to_harm(client, name: str, status: int, code: str) -> None:  # type: ignore[no-untyped-def]
    answer = upload(client, name, made_to_harm()[name])
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert len(answer.json()["error"]["message"]) > 20


def test_a_thousand_hostile_uploads_and_the_server_still_answers(client) -> None:  # type: ignore[no-untyped-def]
    harmful = [*made_to_harm().items(), *fuzzed(1000 - len(made_to_harm()), seed=7)]
    refused = taken = 0
    for name, data in harmful:
        answer = upload(client, re.sub(r"[\r\n\0]", "_", name)[:300] or "x", data)
        if answer.status_code == 200:  # a change that left the file sound
            taken += 1
            assert answer.json()["hits"]
        else:
            refused += 1
            assert answer.status_code in (400, 413, 415, 422, 504), (name, answer.text)
            assert answer.json()["error"]["message"]
    assert refused + taken == 1000 and refused > 500
    answer = upload(client, "a.off", off_bytes())
    assert answer.status_code == 200 and answer.json()["hits"]


def test_what_was_sent_is_looked_up_again_without_the_file(client) -> None:  # type: ignore[no-untyped-def]
    answer = upload(client, "b.off", off_bytes("bottle", 2), k=15).json()
    again = client.get(
        f"/queries/{answer['query_id']}", params={"k": 5, "offset": 5, "class": ["stairs", "bottle"]}
    )
    expected = [hit["name"] for hit in answer["hits"] if hit["class"] != "airplane"][5:10]
    assert [hit["name"] for hit in again.json()["hits"]] == expected
    picture = client.get(f"/queries/{answer['query_id']}/picture")
    assert picture.content[8:12] == b"WEBP"
    gone = client.get("/queries/0123")
    assert gone.status_code == 404 and "send the file again" in gone.json()["error"]["message"]


def test_the_very_file_is_told(client, sketch_run: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    data = (sketch_run[1] / "bottle" / "2.off").read_bytes()
    answer = upload(client, "mine.off", data).json()
    assert answer["same_files"] == ["bottle/2.off"]
    assert [hit["name"] for hit in answer["hits"] if hit["same_file"]] == ["bottle/2.off"]
    changed = upload(client, "mine.off", data + b"\n# another\n").json()
    assert changed["same_files"] == []
    assert [hit["name"] for hit in changed["hits"] if hit["nearly_same"]] == ["bottle/2.off"]


def test_a_photo_is_doubted(client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    photo = Image.fromarray(np.uint8(rng.uniform(0, 255, (6, 6, 3)))).resize((200, 200))
    photo.save(tmp_path / "photo.jpg")
    answer = upload(client, "photo.jpg", (tmp_path / "photo.jpg").read_bytes()).json()
    assert "looks like a photo" in answer["note"]
    assert (
        upload(client, "a.png", draw_sketch(tmp_path / "a.png", "bottle", 4).read_bytes()).json()["note"]
        == ""
    )


def test_a_photo_of_an_object_finds_it(photo_index: Path, tmp_path: Path) -> None:
    data = photograph(tmp_path / "photo.jpg", "stairs", 41).read_bytes()
    drawing = draw_sketch(tmp_path / "a.png", "bottle", 4).read_bytes()
    with (
        serving(photo_index, "--processes", "1") as (address, _),
        httpx.Client(base_url=f"{address}/api/v1", timeout=60) as client,
    ):
        assert client.get("/info").json()["takes_photos"] is True
        for params in ({}, {"kind": "photo"}):
            answer = upload(client, "photo.jpg", data, k=5, **params).json()
            assert (answer["query"], answer["note"], answer["total"]) == ("photo", "", 15)
            assert [hit["class"] for hit in answer["hits"][:2]] == ["stairs"] * 2
        again = client.get(f"/queries/{answer['query_id']}", params={"k": 5}).json()
        assert again["hits"] == answer["hits"]
        assert upload(client, "a.png", drawing).json()["query"] == "drawing"


@pytest.mark.parametrize("params", [{"class": "bottel"}, {"folder": "bottel"}])
def test_a_filter_that_the_index_does_not_know_is_told(client, params: dict) -> None:  # type: ignore[no-untyped-def]
    answer = upload(client, "a.off", off_bytes(), **params)
    assert answer.status_code == 400 and "did you mean 'bottle'?" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/api/nothing", "/api/v1/nothing", "/api", "/nothing", "/static/page/app.py", f"/static/page/{'a' * 300}.js",
     "/static/page/%00.js", "/static/page/..%2Fpage.js", f"/static/vue/{'a' * 300}", "/static/vue/..%2Fpage.js"],
)  # fmt: skip
def test_what_is_not_there_is_json(server: str, path: str) -> None:
    answer = httpx.get(server + path)
    assert (
        answer.status_code == 404
        and answer.json()["error"]["code"] == "missing"
        and len(answer.content) < 300
    )


def test_head_health_and_metrics(server: str) -> None:
    for path in ("/", "/health", "/health/live", "/health/ready", "/api/v1/info", "/metrics"):
        head, get = httpx.head(server + path), httpx.get(server + path)
        assert head.status_code == get.status_code == 200 and head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
    assert httpx.get(f"{server}/health", headers={"host": "10.0.0.7:8080"}).json()["ready"] is True
    numbers = httpx.get(f"{server}/metrics").text
    assert 'batchot_requests_total{method="GET",route="/health",status="200"}' in numbers
    assert "batchot_shapes 15.0" in numbers and "batchot_queue_waiting 0.0" in numbers
    assert "process_resident_memory_bytes" in numbers


def test_pages_elsewhere_can_cost_nothing(server: str) -> None:
    for site, mode, dest, status in (
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "no-cors", "script", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
    ):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        assert httpx.get(server, headers=headers).status_code == status, (site, mode, dest)


def test_two_thousand_visits_leave_nothing_behind(server: str) -> None:
    def memory() -> float:
        found = re.search(r"^process_resident_memory_bytes (\S+)", httpx.get(f"{server}/metrics").text, re.M)
        assert found is not None
        return float(found[1]) / 2**20

    with httpx.Client(base_url=server) as client:

        def visit() -> None:
            for path in ("/", "/api/v1/info", "/api/v1/classes", "/api/v1/folders"):
                assert client.get(path).status_code == 200

        for _ in range(100):
            visit()
        before = memory()
        for _ in range(2000):
            assert client.get("/").status_code == 200
        for _ in range(100):
            visit()
    assert memory() - before < 12  # MB; 0.75 a visit once were 1,500


def raw(server: str, request: bytes) -> bytes:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer:
                    break
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


@pytest.mark.parametrize("path", ["/api/v1/search", "/nothing", "/"])
def test_ten_gigabytes_are_refused_before_they_come(server: str, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n"
    assert raw(server, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_cut_off(server: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"0 0 0\n" * 10_000

    try:
        answer = httpx.post(f"{server}/api/v1/search", content=endless(), timeout=30)
        assert answer.status_code == 413
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        pass  # the server has answered and closed while we were still sending
    assert httpx.get(f"{server}/api/v1/health").status_code == 200


def test_other_names_and_other_pages_are_refused(server: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80"):
        answer = httpx.get(f"{server}/api/v1/info", headers={"host": host})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "host"
    answer = httpx.post(
        f"{server}/api/v1/search", content=off_bytes(), headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    answer = httpx.get(f"{server}/api/v1/info")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_the_description(server: str) -> None:
    described = httpx.get(f"{server}/api/openapi.json").json()
    assert set(described["paths"]) == {"/health", "/health/live", "/health/ready"} | {
        f"/api/v1/{path}"
        for path in ("search", "info", "classes", "folders", "map", "health", "shapes/{id}", "shapes/{id}/similar",
                     "shapes/{id}/thumbnail", "shapes/{id}/preview.glb", "shapes/{id}/file", "shapes/{id}/download",
                     "queries/{id}", "queries/{id}/picture", "shapes.zip")
    }  # fmt: skip
    for path, operations in described["paths"].items():
        if path.startswith("/api/v1/") and path != "/api/v1/health":
            for operation in operations.values():
                assert {"400", "401", "403", "408", "503"} <= set(operation["responses"]), path
                assert operation["security"] == [
                    {"HTTPBearer": []},
                    {},
                ] and "HTTPValidationError" not in json.dumps(operation)
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    search = described["paths"]["/api/v1/search"]["post"]
    assert "multipart/form-data" in search["requestBody"]["content"] and {"413", "415", "422"} < set(
        search["responses"]
    )
    assert all(
        operation.get("description") for path in described["paths"].values() for operation in path.values()
    )
    page = httpx.get(f"{server}/api/docs").text
    for address in re.findall(r'(?:src|href)="([^"]+)"|url: \'([^\']+)\'', page):
        local = next(filter(None, address))
        assert local.startswith("/"), local
        assert httpx.get(server + local).status_code == 200, local


def test_a_wrong_method_is_told_all_that_the_address_takes(server: str) -> None:
    for method, path, allowed in (
        ("OPTIONS", "search", "GET, HEAD, POST"),
        ("DELETE", "shapes/1", "GET, HEAD"),
    ):
        answer = httpx.request(method, f"{server}/api/v1/{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_client_of_the_guide_runs(server: str, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "searching.md").read_text()
    code = re.search(r"```python\n(# client\.py.*?)```", guide, re.DOTALL)
    assert code is not None
    (tmp_path / "client.py").write_text(code[1])
    (tmp_path / "part.off").write_bytes(off_bytes())
    command = [sys.executable, "client.py", server, "part.off"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bottle/0.off" in done.stdout


def test_nothing_is_served_from_elsewhere(client) -> None:  # type: ignore[no-untyped-def]
    text = io.StringIO()
    json.dump(client.get("/map").json(), text)
    assert "/tmp" not in text.getvalue()  # where files lie on the server is not told
    assert "path" not in client.get(f"/shapes/{client.get('/map').json()[0]['id']}").json()


def test_names_and_filters_with_counts(client) -> None:  # type: ignore[no-untyped-def]
    found = client.get("/search", params={"text": "BOTT off", "k": 3}).json()
    assert [hit["name"] for hit in found["hits"]] == ["bottle/0.off", "bottle/1.off", "bottle/2.off"]
    assert found["total"] == 5 and found["query"] == "name" and found["hits"][0]["distance"] is None
    assert client.get("/search", params={"class": "stairs"}).json()["total"] == 5
    by_shape = upload(client, "b.off", off_bytes("bottle", 2), text="stairs").json()
    assert by_shape["total"] == 5 and {hit["class"] for hit in by_shape["hits"]} == {"stairs"}
    assert client.get("/classes", params={"text": "2", "class": "stairs"}).json() == {
        "airplane": 1,
        "bottle": 1,
        "stairs": 1,
    }
    assert client.get("/folders", params={"text": "2", "class": "stairs"}).json() == {"stairs": 1}
    wrong = client.get("/search", params={"text": "..."})
    assert wrong.status_code == 400 and "no letter" in wrong.json()["error"]["message"]
    assert client.get("/search", params={"text": "x" * 201}).status_code == 400
    nothing = client.get("/search", params={"text": "botle"}).json()
    assert nothing["hits"] == [] and "did you mean 'bottle'?" in nothing["note"]


def test_not_this(client) -> None:  # type: ignore[no-untyped-def]
    answer = upload(client, "b.off", off_bytes("bottle", 2), k=15).json()
    first = answer["hits"][0]["id"]
    left = client.get(f"/queries/{answer['query_id']}", params={"k": 15, "not": first}).json()
    assert left["total"] < 15 and first not in {hit["id"] for hit in left["hits"]}
    assert client.get("/search", params={"not": "x"}).status_code == 404
    assert client.get("/search", params={"not": "0" * 24}).status_code == 404


def test_several_files_are_asked_as_one(client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files = [
        ("file", ("a.png", draw_sketch(tmp_path / "a.png", "bottle", 4).read_bytes())),
        ("file", ("b.off", off_bytes("bottle", 2))),
    ]
    answer = client.post("/search", files=files, params={"k": 15}).json()
    assert "2 files" in answer["note"] and answer["query"] == "drawing" and len(answer["hits"]) == 15
    again = client.get(f"/queries/{answer['query_id']}", params={"k": 15}).json()
    assert again["hits"] == answer["hits"]
    alone = upload(client, "b.off", off_bytes("bottle", 2), k=15).json()
    assert [h["distance"] for h in alone["hits"]] != [h["distance"] for h in answer["hits"]]
    refused = client.post("/search", files=[*files, ("file", ("x.zip", made_to_harm()["bomb.zip"]))])
    assert refused.status_code == 415 and "x.zip" in refused.json()["error"]["message"]
    assert client.post("/search", files=[files[1]] * 9).status_code == 400


def test_shapes_as_a_zip_archive(client, sketch_run: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    hits = client.get("/search", params={"text": "bottle"}).json()["hits"]
    answer = client.get("/shapes.zip", params={"id": [hit["id"] for hit in hits[:2]]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["bottle/0.off", "bottle/1.off"]
        assert archive.read("bottle/0.off") == (sketch_run[1] / "bottle" / "0.off").read_bytes()
    assert client.get("/shapes.zip", params={"id": "0" * 24}).status_code == 404
    assert client.get("/shapes.zip").status_code == 400


@pytest.mark.parametrize("name", ["parts/日本 größe.off", 'parts/a"b\nc\\d.off', "parts/\ud8ff.off", ".."])
def test_what_is_kept_of_a_shape_is_saved_under_its_name(name: str) -> None:
    class Gone:
        """An index whose files are no longer there."""

        def original(self, id: str) -> None: ...

        def shape(self, id: str) -> SimpleNamespace:
            return SimpleNamespace(name=name)

        def preview(self, id: str) -> bytes:
            return b"glTF"

    app = FastAPI()
    add_api(app, Gone(), WorkQueue(1))  # type: ignore[arg-type]

    async def ask(path: str):  # type: ignore[no-untyped-def]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1") as client:
            return await client.get(path)

    answer = asyncio.run(ask("/shapes/0/download"))
    assert answer.content == b"glTF"
    saved = unquote(answer.headers["content-disposition"].partition("filename*=utf-8''")[2])
    assert saved.endswith(".glb") and saved.isprintable() and not set(saved) & set('"\\/')
    assert "größe" not in name or saved == "日本 größe.glb"
    with zipfile.ZipFile(io.BytesIO(asyncio.run(ask("/shapes.zip?id=0")).content)) as archive:
        assert all(".." not in member.split("/") and "\n" not in member for member in archive.namelist())
    with zipfile.ZipFile(io.BytesIO(asyncio.run(ask("/shapes.zip?id=0&id=1&id=2")).content)) as archive:
        assert (
            len(set(archive.namelist())) == 3
        )  # of one name, once it can be saved under: none takes another's place


def form(*parts: tuple[bytes, bytes], end: bytes = b"\r\n--x y--\r\n") -> bytes:
    return b"\r\n".join(b"--x y\r\n%s\r\n\r\n%s" % part for part in parts) + end


FILE = b'Content-Disposition: form-data; name="file"; filename='


def test_forms_as_programs_send_them(client) -> None:  # type: ignore[no-untyped-def]
    parts = ((b'content-disposition: form-data; name="k"', b"5"), (FILE + b'"a.off"\r\nX: y', off_bytes()))
    for body in (form(*parts), b"preamble\r\n" + form(*parts), form(*parts) + b"epilogue"):
        headers = {"content-type": 'Multipart/Form-Data; charset=utf-8; boundary="x y"'}
        found = client.post("/search", content=body, headers=headers).json()
        assert found["hits"][0]["name"] == "bottle/0.off"


@pytest.mark.parametrize(
    ("body", "files"),
    [
        (form((FILE + b'"a"', b"1"), (FILE + b"b", b"2")), [(b"1", "a"), (b"2", "b")]),
        (
            form((FILE + b'"gr\xc3\xb6\xff\n\0.off"', b"\r\n\r\n--x\r\n")),
            [(b"\r\n\r\n--x\r\n", "grö\ufffd\n\0.off")],
        ),
        (form((FILE + b'""', b"")), [(b"", "")]),
        (form((b'Content-Disposition: form-data; name="file"', b"1")), []),
        (form((b'Content-Disposition: form-data; name="other"; filename="a"', b"1")), []),
        (form((b"X: y", b"1")), []),
        (form(*[(FILE + b"a", b"1")] * 17), None),
        (form((FILE + b"a" * 9000, b"1")), None),
        (form((FILE + b"a", b"1"), end=b""), None),  # cut off
        (form((FILE + b"a", b"1"), end=b"\r\n--x yz--\r\n"), None),
        (b"garbage", None),
        (b"", None),
    ],
)
def test_files_in_a_form(body: bytes, files: list[tuple[bytes, str]] | None) -> None:
    if files is None:
        with pytest.raises(HTTPException, match="damaged or cut off"):
            _files_in(body, b"x y")
    else:
        assert _files_in(body, b"x y") == files


@pytest.mark.parametrize("content", [b"\r\n--x yz", b"\r\n--x ", b"\r\n", b"\r", b"--x y"])
@pytest.mark.flaky(reruns=2)  # holds a clock
def test_a_form_keeps_nobody_waiting(content: bytes) -> None:
    body = form((FILE + b"a", content * (8 * 2**20 // len(content))))
    start = time.process_time()
    with contextlib.suppress(HTTPException):
        _files_in(body, b"x y")
    assert (
        time.process_time() - start < 0.5
    )  # 40 MB of the first once took 14 s, in which nobody was answered


def test_an_archive_is_made_while_it_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "large.off"
    file.write_bytes(np.random.default_rng(0).bytes(16 << 20))

    class Index:
        def original(self, id: str) -> Path:
            return file

        def shape(self, id: str) -> SimpleNamespace:
            return SimpleNamespace(name="large.off")

    async def taken() -> int:
        answer = _zip_of(Index(), ["0", "1"])  # type: ignore[arg-type]
        return sum([len(piece) async for piece in answer.body_iterator])  # type: ignore[attr-defined]

    tracemalloc.start()
    try:
        assert asyncio.run(taken()) > 32 << 20
        assert (
            tracemalloc.get_traced_memory()[1] < 8 << 20
        )  # each of many who do not take theirs once had all of it
    finally:
        tracemalloc.stop()
