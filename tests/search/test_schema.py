"""Names of files that are no text, and rows of other versions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from search_support import make_record

pa = pytest.importorskip("pyarrow", reason="the store needs the extra search")


def test_a_file_of_any_name_is_found_and_downloaded(tmp_path: Path) -> None:
    from batchot.search.schema import hit_of, rows_of, table_schema
    from batchot.serve.api import _download

    for raw in (b"caf\xe9\n\x1b[31m.off", b'a"b\\c\r\n.off', "żółw.off".encode()):
        path = tmp_path / os.fsdecode(raw)
        path.write_bytes(b"OFF\n")
        record = make_record(path.name, np.ones(4, np.float32), path=str(path))
        row = rows_of([record], table_schema(4)).to_pylist()[0]
        hit = hit_of(row)
        assert Path(hit.path) == path and Path(hit.path).is_file()
        hit.name.encode()  # JSON can hold it
        told = _download(Path(hit.path)).headers["content-disposition"]
        assert told.startswith("attachment") and told.isprintable() and ".off" in told


def test_columns_and_values_of_other_versions_are_passed_over() -> None:
    import json

    from batchot.search.schema import hit_of, rows_of, table_schema

    schema = table_schema(4).append(pa.field("of_tomorrow", pa.string()))
    row = rows_of([make_record("a/b.off", np.ones(4, np.float32))], schema).to_pylist()[0]
    assert row["of_tomorrow"] is None
    card = {**json.loads(row["card"]), "of_tomorrow": [1, 2]}
    assert hit_of({**row, "card": json.dumps(card)}).name == "a/b.off"
