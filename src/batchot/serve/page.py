"""The page: draw or upload on the left, what is like it on the right, the map below."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from nicegui import app, events, run, ui

from batchot.search.errors import SearchError
from batchot.search.filters import Filters
from batchot.search.searcher import MOST_RESULTS, Answer, Query, Searcher
from batchot.serve.elements import Results, SketchPad
from batchot.serve.view import card_of, map_options, words_of

PAGE = 20
"""Results on a page."""
_PICTURE = "data:image/png;base64,"
_TAKEN = (
    ".off,.obj,.stl,.ply,.glb,.gltf,.npy,.pcd,.xyz,.txt,.pts,.csv,.png,.jpg,.jpeg,.webp,.gif,.bmp,.tif,.tiff"
)


@dataclass
class _Asked:
    """What was asked for last: a query that was embedded, or a shape of the index."""

    query: Query | None = None
    similar: str | None = None
    name: str = ""


class SearchPage:
    """The page of one visitor.

    Args:
        searcher: of the index
        upload_bytes: that a file may have
    """

    def __init__(self, searcher: Searcher, upload_bytes: int) -> None:
        self.searcher, self.upload_bytes = searcher, upload_bytes
        self.asked = _Asked()
        self.page = 0
        self.number = 0  # of the question that was asked last: answers to earlier ones are dropped
        self.about = searcher.about

    def build(self) -> None:
        """Lay the page out."""
        ui.add_css(resources.files("batchot.serve").joinpath("page.css").read_text(encoding="utf-8"))
        self.dark = ui.dark_mode(None)
        with ui.element("header").classes("bar"):
            ui.html(f"<h1>{_escaped(self.about.name)}</h1>", sanitize=False)
            classes = len([name for name in self.about.classes if name])
            ui.label(
                f"{self.about.count:,} shapes" + (f" of {classes:,} classes" if classes else "")
            ).classes("about")
            self.dark_button = ui.button("Dark: auto", on_click=self._next_dark).props(
                "flat dense no-caps size=md"
            )
            self.dark_button.props('aria-label="Switch between automatic, dark and light"')
        with ui.element("div").classes("columns"):
            with ui.element("div").classes("side"):
                self._query_side()
            with ui.element("main").classes("main"):
                self._answer_side()

    def _query_side(self) -> None:
        if self.about.takes_drawings:
            with ui.element("section").classes("box"):
                ui.html("<h2>Draw what you look for</h2>", sanitize=False)
                self.pad: SketchPad | None = SketchPad(self._sketched, "Draw here")
        else:
            self.pad = None
        with ui.element("section").classes("box"):
            ui.html("<h2>Or give a file</h2>", sanitize=False)
            what = "A mesh, a point cloud" + (" or a picture" if self.about.takes_drawings else "")
            self.upload = ui.upload(
                label=f"{what}: choose or drop",
                auto_upload=True,
                max_file_size=self.upload_bytes,
                on_upload=self._uploaded,
                on_rejected=lambda: self._say_error(f"A file may have {self.upload_bytes / 2**20:.0f} MB"),
            ).props(f'flat accept="{_TAKEN}"')
            axes = {"auto": "as in the index", "z": "z points up", "y": "y points up"}
            self.up = ui.select(axes, value="auto", label="axes of the file").props("dense outlined")
        with ui.element("section").classes("box"):
            ui.html("<h2>Only</h2>", sanitize=False)
            names = sorted(name for name in self.about.classes if name)
            self.classes = ui.select(names, label="classes", multiple=True, with_input=True, clearable=True)
            self.classes.props("dense outlined use-chips").classes("w-full").on_value_change(self._filtered)
            self.classes.set_visibility(bool(names))
            folders = sorted(name for name in self.about.folders if name)
            self.folders = ui.select(folders, label="folders", multiple=True, with_input=True, clearable=True)
            self.folders.props("dense outlined use-chips").classes("w-full").on_value_change(self._filtered)
            self.folders.set_visibility(bool(folders) and folders != names)

    def _answer_side(self) -> None:
        with ui.element("div").classes("answer").props('role="status" aria-live="polite"') as self.answer_box:
            self.headline = ui.label("Draw something, or give a file").classes("top")
            self.details = ui.label("").classes("more")
        self.results = Results(self._similar)
        self.empty = ui.label("What is like it appears here. Drag a shape to turn it.").classes("empty")
        with ui.element("nav").classes("pages").props('aria-label="Pages of results"') as self.pages:
            self.before = ui.button("Before", on_click=partial(self._turn_page, -1)).props("flat no-caps")
            self.page_label = ui.label()
            self.after = ui.button("Next", on_click=partial(self._turn_page, 1)).props("flat no-caps")
        self.pages.set_visibility(False)
        with ui.element("section").classes("box"):
            ui.html("<h2>Map of all shapes: what lies together is alike. Click one</h2>", sanitize=False)
            points = self.searcher.map_points()
            self.map = ui.echart(map_options(points, dark=False), on_point_click=self._clicked).classes("map")

    async def _sketched(self, event: events.GenericEventArguments) -> None:
        picture = event.args.get("picture") if isinstance(event.args, dict) else None
        if picture is None:
            self.number += 1
            self.asked = _Asked()
            self._show_nothing()
            return
        try:
            if not isinstance(picture, str) or not picture.startswith(_PICTURE):
                raise ValueError("it is no PNG picture")
            data = base64.b64decode(picture[len(_PICTURE) :], validate=True)
        except (ValueError, binascii.Error) as error:
            return self._say_error(f"The drawing did not arrive whole: {error}")
        await self._ask_bytes(data, "the drawing", "sketch")

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        self.upload.reset()
        if self.pad is not None:
            self.pad.wipe()
        await self._ask_bytes(data, event.file.name, "auto")

    async def _similar(self, event: events.GenericEventArguments) -> None:
        await self._ask_similar(str(event.args.get("id", "")))

    async def _clicked(self, event: events.EChartPointClickEventArguments) -> None:
        if isinstance(event.data, dict) and "id" in event.data:
            await self._ask_similar(str(event.data["id"]))

    async def _ask_similar(self, id: str) -> None:
        try:
            found = await run.io_bound(self.searcher.shape, id)
        except SearchError as error:
            return self._say_error(str(error))
        if found is None:  # the server is ending
            return
        if self.pad is not None:
            self.pad.wipe()
        self.asked, self.page = _Asked(similar=id, name=found.name), 0
        await self._answer()

    async def _ask_bytes(self, data: bytes, name: str, kind: Any) -> None:
        self.number += 1
        number = self.number
        self.answer_box.props("aria-busy=true")
        try:
            query = await run.io_bound(self.searcher.embed_bytes, data, name, kind=kind, up=self.up.value)
        except SearchError as error:
            if number == self.number:
                self._say_error(str(error))
            return
        if number == self.number and query is not None:
            self.asked, self.page = _Asked(query=query, name=name), 0
            await self._answer()

    async def _answer(self) -> None:
        self.number += 1
        number, asked = self.number, self.asked
        filters = Filters(tuple(self.classes.value or ()), tuple(self.folders.value or ()))
        offset = self.page * PAGE
        try:
            if asked.query is not None:
                query, search = asked.query, self.searcher.search_query
                answer = await run.io_bound(partial(search, query, k=PAGE, offset=offset, filters=filters))
            elif asked.similar is not None:
                similar = partial(self.searcher.similar, asked.similar)
                answer = await run.io_bound(partial(similar, k=PAGE, offset=offset, filters=filters))
            else:
                return
        except SearchError as error:
            return self._say_error(str(error))
        if number == self.number and answer is not None:
            self._show(answer, asked.name if asked.similar is not None else None)

    def _show(self, answer: Answer, similar_to: str | None) -> None:
        headline, details, kind = words_of(answer, similar_to)
        self._headline(headline, details, kind)
        normalized = self.searcher.manifest.normalized
        self.results.show([card_of(hit, normalized=normalized) for hit in answer.hits])
        self.empty.set_visibility(not answer.hits)
        last = max(0, (min(answer.total, MOST_RESULTS) - 1) // PAGE)
        self.pages.set_visibility(last > 0)
        self.page_label.set_text(f"page {self.page + 1} of {last + 1}")
        self.before.set_enabled(self.page > 0)
        self.after.set_enabled(self.page < last)

    def _show_nothing(self) -> None:
        self._headline("Draw something, or give a file", "", "")
        self.results.show([])
        self.empty.set_visibility(True)
        self.pages.set_visibility(False)

    def _say_error(self, text: str) -> None:
        self._headline("That cannot be looked up", text, "error")

    def _headline(self, headline: str, details: str, kind: str) -> None:
        self.headline.set_text(headline)
        self.details.set_text(details)
        self.answer_box.classes(remove="unknown error", add=kind)
        self.answer_box.props("aria-busy=false")

    async def _filtered(self) -> None:
        self.page = 0
        await self._answer()

    async def _turn_page(self, step: int) -> None:
        self.page = max(0, self.page + step)
        await self._answer()
        ui.run_javascript("document.querySelector('.answer').scrollIntoView({block: 'start'})")

    def _next_dark(self) -> None:
        order: dict[bool | None, bool | None] = {None: True, True: False, False: None}
        self.dark.value = order[self.dark.value]
        self.dark_button.set_text("Dark: " + {None: "auto", True: "on", False: "off"}[self.dark.value])


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


def add_page(searcher: Searcher, upload_bytes: int) -> None:
    """Add the page to NiceGUI's application.

    Args:
        searcher: of the index
        upload_bytes: that a file may have
    """
    app.on_exception(lambda error: None)  # told in the log by NiceGUI already

    @ui.page("/", title=f"{searcher.about.name}: search by shape")
    def page() -> None:
        SearchPage(searcher, upload_bytes).build()
