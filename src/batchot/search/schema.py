"""The table of an index, as Arrow has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from batchot.search.errors import SearchError
from batchot.search.records import Hit, ShapeRecord

TABLE = "shapes"
HIT_COLUMNS = (
    "id", "name", "folder", "class_name", "kind", "faces", "vertices", "size", "path", "member",
)  # fmt: skip


def table_schema(dimensions: int) -> pa.Schema:
    """Give the columns of the table.

    Args:
        dimensions: of the embeddings

    >>> table_schema(4).field("vector").type.list_size
    4
    """
    text, number = pa.string(), pa.int64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("name", text, nullable=False),
            pa.field("folder", text, nullable=False),
            pa.field("class_name", text, nullable=False),
            pa.field("path", text, nullable=False),
            pa.field("member", text),
            pa.field("content", text, nullable=False),
            pa.field("kind", text, nullable=False),
            pa.field("faces", number, nullable=False),
            pa.field("vertices", number, nullable=False),
            pa.field("size", pa.list_(pa.float64(), 3), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
            pa.field("thumbnail", pa.large_binary(), nullable=False),
            pa.field("preview", pa.large_binary(), nullable=False),
        ]
    )


def rows_of(records: Sequence[ShapeRecord], schema: pa.Schema) -> pa.Table:
    """Give records as rows.

    Args:
        records: any
        schema: of `table_schema`

    Raises:
        SearchError: an embedding is of another width or not finite
    """
    d = schema.field("vector").type.list_size
    for record in records:
        if record.vector.shape != (d,) or not np.isfinite(record.vector).all():
            raise SearchError(
                f"{record.name}: the embedding must be {d} finite numbers, got shape {record.vector.shape}; "
                "the index was built with another network"
            )
    names = [name for name in schema.names if name not in ("vector", "size")]
    columns: dict[str, Any] = {name: [getattr(record, name) for record in records] for name in names}
    vectors = np.stack([record.vector for record in records]).astype(np.float32)
    sizes = np.array([record.size for record in records], np.float64)
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), d)
    columns["size"] = pa.FixedSizeListArray.from_arrays(pa.array(sizes.ravel()), 3)
    columns |= {
        name: [_stored(text) for text in columns[name]] for name in ("name", "folder", "path", "class_name")
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def hit_of(row: Mapping[str, Any]) -> Hit:
    """Give a row as a result; `_distance`, where it has one, is squared."""
    size = row["size"]
    return Hit(
        id=row["id"],
        name=row["name"],
        folder=row["folder"],
        class_name=row["class_name"],
        kind=row["kind"],
        faces=row["faces"],
        vertices=row["vertices"],
        size=(size[0], size[1], size[2]),
        path=row["path"],
        member=row["member"],
        distance=float(np.sqrt(max(row.get("_distance", 0.0), 0.0))),
    )


def _stored(text: str) -> str:
    # names of files may be bytes that are no text, which Arrow does not hold
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
