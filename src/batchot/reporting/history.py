"""Read back the history of a run."""

from __future__ import annotations

import csv
import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.errors import RunError

if TYPE_CHECKING:
    from batchot.training.callbacks import Row


def read_history(path: Path) -> tuple[Row, ...]:
    """Read the rows of a history.csv."""
    from batchot.training.callbacks import Row

    if not path.is_file():
        return ()
    types = typing.get_type_hints(Row)
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=2):
            values: dict[str, int | float | str | None] = {}
            for field in dataclasses.fields(Row):
                text = cells.get(field.name)
                try:
                    values[field.name] = _value(text, types[field.name])
                except ValueError as error:
                    raise RunError(
                        f"{path}, line {number}: {field.name} is {text!r}, which is no number; "
                        "the file was changed or damaged"
                    ) from error
            rows.append(Row(**values))  # type: ignore[arg-type]
    return tuple(rows)


def _value(text: str | None, kind: object) -> int | float | str | None:
    kinds = typing.get_args(kind) or (kind,)
    if text is None or text == "":
        return None
    if int in kinds:
        return int(text)
    return float(text) if float in kinds else text
