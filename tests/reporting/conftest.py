"""Material of small reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from batchot.losses import BatchOTSettings
from batchot.reporting import style as markup
from batchot.reporting.material import Items, ReportMaterial
from batchot.reporting.style import LIGHT, figure_png
from batchot.training.callbacks import Row
from report_support import FIRST_ROW


def about_run(first: Row, classes: int) -> dict[str, object]:
    """The fields that material of any kind has."""
    return {
        "title": "a title",
        "about": "what was done",
        "config": "name: x",
        "rows": (first, dataclasses.replace(first, epoch=2, loss=0.2, map=0.75)),
        "classes": tuple(f"class-{c}" for c in range(classes)),
        "loss": BatchOTSettings(),
    }


@pytest.fixture
def make_material() -> Callable[..., ReportMaterial]:
    """Make material with clustered embeddings; any of its fields can be given."""

    def make(labels: list[int], channels: int = 1, **fields: object) -> ReportMaterial:
        generator = torch.Generator().manual_seed(1)
        y = torch.tensor(labels)
        n, classes = len(labels), max(labels) + 1
        centres = torch.eye(classes, 6)[y]
        values: dict[str, object] = {
            **about_run(FIRST_ROW, classes),
            "embeddings": centres + 0.4 * torch.randn(n, 6, generator=generator),
            "labels": y,
            "thumbnails": torch.randint(
                0, 256, (n, channels, 12, 16), generator=generator, dtype=torch.uint8
            ),
        }
        return ReportMaterial(**(values | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_cross_material() -> Callable[..., ReportMaterial]:
    """Make material of two modalities with clustered embeddings; any of its fields can be given."""

    def items(labels: list[int], width: int, channels: int, seed: int) -> Items:
        generator = torch.Generator().manual_seed(seed)
        y = torch.tensor(labels)
        x = torch.eye(width, width + 2)[y] + 0.2 * torch.randn(len(y), width + 2, generator=generator)
        size = (len(y), channels, 12, 16)
        return Items(x, y, torch.randint(0, 256, size, generator=generator, dtype=torch.uint8))

    def make(asked: list[int], sought: list[int], channels: int = 1, **fields: object) -> ReportMaterial:
        classes = max(asked + sought) + 1
        plain = dataclasses.replace(FIRST_ROW, accuracy=None, accuracy_by=None, knn_accuracy=None)
        values: dict[str, object] = {
            **about_run(plain, classes),
            **vars(items(asked, classes, 1, seed=1)),
            "gallery": items(sought, classes, channels, seed=2),
        }
        return ReportMaterial(**(values | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture
def light_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark figures are drawn by the same code, and drawing is what takes the time of the tests of pages."""

    def png(figure: Figure) -> bytes:
        return figure_png(figure) if figure.get_facecolor() == to_rgba(LIGHT.background) else b"dark"

    monkeypatch.setattr(markup, "figure_png", png)


class PageReader(HTMLParser):
    """Reads a page and complains about elements that are not closed in order."""

    VOID = frozenset({"meta", "img", "source", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self.addresses += [given[name] for name in ("src", "href", "srcset") if name in given]
        if "id" in given:
            self.ids.append(given["id"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def classes(self, tag: str) -> list[str]:
        """The class attributes of all elements of a tag."""
        return [given.get("class", "") for name, given in self.tags if name == tag]


@pytest.fixture
def read_page() -> type[PageReader]:
    """Read a page, well-formed or else an error."""
    return PageReader
