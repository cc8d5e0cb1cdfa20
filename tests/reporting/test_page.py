from __future__ import annotations

from html.parser import HTMLParser

from batchot.reporting import make_page


class Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [value for name in ("src", "href") if (value := given.get(name))]
        self.cells += tag == "td"


def test_page_needs_no_other_file() -> None:
    page = make_page(
        "a < b", "about", ["epoch", "mAP"], [["1", "50"], ["2", "60"]], {"Curves": b"png"}, "lam: <5>"
    )
    seen = Collector()
    seen.feed(page)
    assert seen.sources == ["data:image/png;base64,cG5n"]
    assert seen.cells == 4
    assert "<h1>a &lt; b</h1>" in page
    assert "lam: &lt;5&gt;" in page
