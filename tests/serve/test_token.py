"""A server that others can reach asks for a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from batchot.cli import main
from serve_support import serving

httpx = pytest.importorskip("httpx", reason="the tests of the API need httpx")


@pytest.fixture(scope="module")
def guarded(small_index: Path) -> Iterator[tuple[str, str]]:
    pytest.importorskip("nicegui", reason="the page needs the extra search")
    with serving(small_index, "--host", "0.0.0.0", "--processes", "1") as (address, printed):
        yield address, printed.split("?token=")[1].split()[0]


def test_nothing_without_it(guarded: tuple[str, str]) -> None:
    address, token = guarded
    assert len(token) >= 24
    for path in (
        "/",
        "/api/v1/info",
        "/api/openapi.json",
        "/api/docs",
        "/static/page/page.js",
        "/metrics",
        "/favicon.ico",
    ):
        answer = httpx.get(address + path)
        assert answer.status_code == 401, path
        assert token not in answer.text
    for wrong in ("", "x", token[:-1], token + "x", "ключ"):
        assert httpx.get(f"{address}/api/v1/info", params={"token": wrong}).status_code == 401
        header = {"authorization": f"Bearer {wrong}".strip().encode()}
        assert httpx.get(f"{address}/api/v1/info", headers=header).status_code == 401


def test_by_header_and_by_address(guarded: tuple[str, str]) -> None:
    address, token = guarded
    assert (
        httpx.get(f"{address}/api/v1/info", headers={"authorization": f"Bearer {token}"}).status_code == 200
    )
    with httpx.Client(base_url=address) as client:
        answer = client.get("/api/v1/info", params={"token": token, "a": "b"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/api/v1/info?a=b"  # the token does not stay in the address
        assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Lax" in answer.headers["set-cookie"]
        assert client.get("/api/v1/info").status_code == 200  # by the cookie
    answer = httpx.get(f"{address}//evil.example/", params={"token": token})
    assert urlsplit(answer.headers["location"]).netloc == ""  # it sends nobody elsewhere


def test_tokens_that_are_none(small_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(small_index), "--token", "short"]) == 2
    assert "at least 16" in capsys.readouterr().err
    assert main(["serve", str(small_index.parent)]) == 1
    assert "is no index" in capsys.readouterr().err
