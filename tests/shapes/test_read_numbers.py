from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes import ShapeError
from batchot.shapes.read_numbers import read_rows

FORMS = ("{!r}", "{:.6f}", "{:.3e}", "{:+.17g}", "{:.25f}", "{:g}")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(FORMS)), min_size=1)
)
def test_as_exact_as_float(numbers: list[tuple[float, str]]) -> None:
    words = [form.format(value) for value, form in numbers]
    assert read_rows(" ".join(words).encode()).values.tolist() == [float(word) for word in words]


@pytest.mark.parametrize(
    "word", ["0", "-0", ".5", "5.", "1e22", "1e23", "9007199254740993", "123456789012345678901"]
)
def test_at_the_limits_of_the_fast_way(word: str) -> None:
    value = read_rows(word.encode()).values[0]
    assert value == float(word) and np.signbit(value) == word.startswith("-")


def test_lines() -> None:
    rows = read_rows(b"\xef\xbb\xbf# head\r\n1 2\r\n\r\n\t3;4;5 # tail\r6 // more\n", start=3)
    assert rows.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows.columns.tolist() == [2, 3, 1] and len(rows) == 3
    assert rows.table(0, 2, 2).tolist() == [[1, 2], [3, 4]]


def test_no_numbers_at_all() -> None:
    assert len(read_rows(b"")) == 0 and len(read_rows(b"# nothing")) == 0
    assert read_rows(b"").table(0, 0, 3).shape == (0, 3)


def test_not_finite_is_a_number_that_is_not_finite() -> None:
    assert np.isnan(read_rows(b"nan").values).all() and np.isinf(read_rows(b"-inf 1e999").values).all()


@pytest.mark.parametrize("word", ["x", "1x", "1_0", "--1", "1e", "1.2.3", "0x10", "-", "1#c", "\x01", "1e5e"])
def test_what_is_no_number(word: str) -> None:
    with pytest.raises(ShapeError, match=r"^line 2: .* is not a number"):
        read_rows(f"1 2\n3 {word}\n".encode())
