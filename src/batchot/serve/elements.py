"""The parts of the page that NiceGUI does not have: a sheet to draw on, and results that turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nicegui
from nicegui.element import Element

_THREE = Path(nicegui.__file__).parent / "elements" / "scene" / "dist"  # three.js, as NiceGUI ships it


class SketchPad(Element, component="sketch_pad.js"):
    """A sheet to draw on; every change is told as a picture.

    Args:
        on_sketch: told {"picture": data URL of a PNG, or None where the sheet is empty}
        hint: stands on the empty sheet
    """

    def __init__(self, on_sketch: Callable[[Any], Any], hint: str) -> None:
        super().__init__()
        self._props["hint"] = hint
        self.on("sketch", on_sketch)

    def wipe(self) -> None:
        """Take the drawing away without telling."""
        self.run_method("wipe")


class Results(Element, component="results.js", esm={"nicegui-scene": str(_THREE)}):
    """Cards of shapes that turn in place.

    Args:
        on_similar: told {"id": of the shape} when more like it is wanted
    """

    def __init__(self, on_similar: Callable[[Any], Any]) -> None:
        super().__init__()
        self._props["hits"] = []
        self.on("similar", on_similar)

    def show(self, hits: list[dict[str, Any]]) -> None:
        """Show shapes.

        Args:
            hits: id, name, class, distance, score, and the addresses thumbnail, preview and download of each
        """
        self._props["hits"] = hits
        self.update()
