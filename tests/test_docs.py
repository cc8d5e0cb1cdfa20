"""The site builds without complaint and without a network, its links resolve, its formulas are rendered locally."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import batchot

ROOT = Path(__file__).resolve().parents[1]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = dict(attributes)
        self.ids |= {value for key in ("id", "name") if (value := of.get(key))}
        if tag == "a" and of.get("href"):
            self.links.append(str(of["href"]))
        if tag in ("script", "img", "link") and (file := of.get("src") or of.get("href")):
            self.loaded.append(file)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Page]:
    out = tmp_path_factory.mktemp("site")
    # a proxy that is not there stands for a machine without a network
    alone = os.environ | {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", out]
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: _Page(file.read_text()) for file in out.rglob("*.html")}


def test_every_link_leads_somewhere(site: dict[Path, _Page]) -> None:
    seen = 0
    for file, page in site.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), f"{file.name}: {link}"
            if parts.fragment and target in site:
                assert unquote(parts.fragment) in site[target].ids, f"{file.name}: {link}"
            seen += 1
    assert seen > 500


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, _Page]) -> None:
    for file, page in site.items():
        assert not [name for name in page.loaded if re.match(r"(https?:)?//", name)], file
    reference = next(page for file, page in site.items() if file.name == "reference.html")
    assert any("mathjax" in name for name in reference.loaded)


def test_the_reference_has_every_public_name_and_its_formulas(site: dict[Path, _Page]) -> None:
    file, page = next((file, page) for file, page in site.items() if file.name == "reference.html")
    assert {f"batchot.{name}" for name in batchot.__all__} <= page.ids
    text = file.read_text()
    assert text.count('class="math') > 20 and ":math:" not in text and "`:func:" not in text


def test_each_guide_is_in_the_table_of_contents(site: dict[Path, _Page]) -> None:
    index = next(page for file, page in site.items() if file.name == "index.html")
    for guide in (ROOT / "docs").glob("*.md"):
        if guide.stem != "index":
            assert f"{guide.stem}.html" in index.links, guide
            assert guide.stem not in ("search", "genindex"), (
                f"{guide}: Sphinx writes a page of that name itself"
            )


def test_troubleshooting_quotes_messages_that_there_are() -> None:
    quoted = re.findall(r"\*\*`([^`]+)`\*\*", (ROOT / "docs/troubleshooting.md").read_text())
    source = "\n".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message goes on in the next line
    assert len(quoted) >= 20
    for message in quoted:
        assert message in source, message
