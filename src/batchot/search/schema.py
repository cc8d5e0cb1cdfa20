"""The table of an index, as Arrow has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from batchot.search.records import Hit, SearchError, ShapeRecord

TABLE = "shapes"
HIT_COLUMNS = ("id", "card")
"""What a search reads of each result: one column with all that is shown, as every further one costs a read."""
_CARD = (
    "name", "folder", "class_name", "kind", "faces", "vertices", "size", "path", "member", "area", "volume",
    "unit",
)  # fmt: skip
_TEXTS = ("id", "name", "folder", "class_name", "path", "content", "card")
SIZES = {name: pa.float64() for name in ("longest", "middle", "shortest", "area", "volume")} | {
    "unit": pa.string()
}
"""Columns that tables of older versions lack; all are empty where a shape was not measured."""


def table_schema(dimensions: int, photo_dimensions: int = 0) -> pa.Schema:
    """Give the columns of the table; one for photos where they have dimensions."""
    return pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
            *(pa.field(name, kind) for name, kind in SIZES.items()),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
            *([pa.field("photo", pa.list_(pa.float32(), photo_dimensions))] if photo_dimensions else []),
            pa.field("thumbnail", pa.large_binary(), nullable=False),
            pa.field("preview", pa.large_binary(), nullable=False),
        ]
    )


def rows_of(records: Sequence[ShapeRecord], schema: pa.Schema) -> pa.Table:
    """Give records as rows."""
    d = schema.field("vector").type.list_size
    for record in records:
        if record.vector.shape != (d,) or not np.isfinite(record.vector).all():
            raise SearchError(
                f"{record.name}: the embedding must be {d} finite numbers, got shape {record.vector.shape}; "
                "the index was built with another network"
            )
    apart = ("card", "vector", "photo", "thumbnail", "preview", *SIZES)
    texts = [name for name in schema.names if name not in apart]
    # a newer version may have given the table columns that this one does not know
    columns: dict[str, Any] = {
        name: [_stored(getattr(record, name)) if hasattr(record, name) else None for record in records]
        for name in texts
    }
    columns["card"] = [
        json.dumps({name: _plain(name, getattr(record, name)) for name in _CARD}) for record in records
    ]
    sizes = [sizes_of(record.size, record.area, record.volume, record.unit) for record in records]
    columns |= {name: [size[name] for size in sizes] for name in SIZES}
    vectors = np.stack([record.vector for record in records]).astype(np.float32)
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), d)
    columns |= {
        name: [getattr(record, name) for record in records] for name in ("photo", "thumbnail", "preview")
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def sizes_of(
    size: Sequence[float], area: float | None, volume: float | None, unit: str
) -> dict[str, float | str | None]:
    """Give the columns of `SIZES`."""
    longest, middle, shortest = sorted(size, reverse=True)
    values = (longest, middle, shortest, area, volume, unit)
    return dict(zip(SIZES, values, strict=True))


def measured_rows(rows: pa.Table, measures: Mapping[str, Any]) -> pa.Table:
    """Give rows with the measures of their shapes, which are of `Prepared`, by id."""
    of = [measures[id] for id in rows["id"].to_pylist()]
    sizes = [sizes_of(m.size, m.area, m.volume, m.unit) for m in of]
    new: dict[str, Any] = {
        name: pa.array([size[name] for size in sizes], kind) for name, kind in SIZES.items()
    }
    new["card"] = [
        json.dumps(
            {**json.loads(card), "size": list(m.size), "area": m.area, "volume": m.volume, "unit": m.unit}
        )
        for card, m in zip(rows["card"].to_pylist(), of, strict=True)
    ]
    return pa.table({name: new.get(name, rows[name]) for name in rows.schema.names}, schema=rows.schema)


def hit_of(row: Mapping[str, Any]) -> Hit:
    """Give a row as a result; `_distance`, where it has one, is squared."""
    card = json.loads(row["card"])
    distance = float(np.sqrt(max(row.get("_distance", 0.0), 0.0)))
    known = {name: card[name] for name in _CARD if name in card}
    return Hit(id=row["id"], distance=distance, **{**known, "size": tuple(card["size"])})


def _plain(name: str, value: Any) -> Any:
    # JSON escapes what is no text, so that the file of a shape is found whatever bytes its name has
    return _stored(value) if isinstance(value, str) and name not in ("path", "member") else value


def _stored(text: str) -> str:
    # names of files may be bytes that are no text, which Arrow does not hold
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
