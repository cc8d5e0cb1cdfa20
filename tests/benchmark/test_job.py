from __future__ import annotations

import os
import re

from batchot.benchmark.job import commit, describe_machine


def test_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["processor"]
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert machine["memory_gib"] > 0.5
    assert machine["versions"]["torch"]


def test_commit_is_that_of_the_checkout() -> None:
    found = commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{7,}(\+changes)?", found)
