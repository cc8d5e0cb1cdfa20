"""Material of small reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import torch

from batchot.losses import BatchOTSettings
from batchot.reporting import ReportMaterial
from batchot.training.callbacks import Row

FIRST_ROW = Row(
    epoch=1,
    map=0.5,
    nn=0.6,
    ft=0.4,
    st=0.5,
    e=0.1,
    dcg=0.7,
    accuracy=0.8,
    accuracy_by="head",
    seconds=1.0,
    knn_accuracy=0.8,
    loss=0.3,
    violated_mass=0.9,
    effective_pairs=10.0,
    marginal_error=0.0,
    seed=0,
)


@pytest.fixture
def make_material() -> Callable[..., ReportMaterial]:
    """Make material with clustered embeddings; any of its fields can be given."""

    def make(labels: list[int], channels: int = 1, **fields: object) -> ReportMaterial:
        generator = torch.Generator().manual_seed(1)
        y = torch.tensor(labels)
        n, classes = len(labels), max(labels) + 1
        centres = torch.eye(classes, 6)[y]
        values: dict[str, object] = {
            "title": "a title",
            "about": "what was done",
            "config": "name: x",
            "rows": (FIRST_ROW, dataclasses.replace(FIRST_ROW, epoch=2, loss=0.2, map=0.75)),
            "classes": tuple(f"class-{c}" for c in range(classes)),
            "embeddings": centres + 0.4 * torch.randn(n, 6, generator=generator),
            "labels": y,
            "thumbnails": torch.randint(
                0, 256, (n, channels, 12, 16), generator=generator, dtype=torch.uint8
            ),
            "loss": BatchOTSettings(),
        }
        return ReportMaterial(**(values | fields))  # type: ignore[arg-type]

    return make


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
