from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchot.shapes import ShapeError, load_shape
from batchot.shapes.formats.numbers import read_rows, with_decimal_points

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
    np.testing.assert_array_equal(read_rows(b"1, nan\n2, NaN\n").values.ravel(), [1, np.nan, 2, np.nan])
    np.testing.assert_array_equal(read_rows(b"1, inf\n2, INF\n").values.ravel(), [1, np.inf, 2, np.inf])


@pytest.mark.parametrize("word", ["x", "1x", "1_0", "--1", "1e", "1.2.3", "0x10", "-", "1#c", "\x01", "1e5e"])
def test_what_is_no_number(word: str) -> None:
    with pytest.raises(ShapeError, match=r"^line 2: .* is not a number"):
        read_rows(f"1 2\n3 {word}\n".encode())


def naive(text: str, separator: str, decimal: str) -> list[list[float]]:
    """What whoever wrote a text meant by it."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [
        [float(word.replace(decimal, ".")) for word in line.split(separator.strip() or None)]
        for line in lines
        if line
    ]


tables = st.integers(3, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-1e6, 1e6), min_size=width, max_size=width), min_size=1, max_size=6
    )
)
styles = st.sampled_from(
    [(s, ".") for s in (" ", ",", ", ", " , ", ";", "; ", "\t")]
    + [(s, ",") for s in (" ", "  ", ";", "; ", " ; ", "\t")]
)


@settings(max_examples=300, deadline=None)
@given(
    tables,
    styles,
    st.sampled_from(FORMS),
    st.sampled_from(["\n", "\r\n", "\n\n", " # 1,5 and 2.5\n", "  \n"]),
)
def test_one_style_is_read_as_it_was_meant(
    table: list[list[float]], style: tuple[str, str], form: str, end: str
) -> None:
    separator, decimal = style
    text = "".join(separator.join(form.format(x).replace(".", decimal) for x in row) + end for row in table)
    rows = read_rows(text.encode())
    found = [rows.values[a:b].tolist() for a, b in zip(rows.starts, rows.starts[1:], strict=False)]
    assert found == naive(text, separator, decimal)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([".", ","]))
def test_mixed_styles_are_read_as_they_were_meant_or_refused(data: st.DataObject, decimal: str) -> None:
    numbers = st.sampled_from(
        ["1", "-2", "0", f"1{decimal}5", f"-0{decimal}25", f"3{decimal}00", "1e3", "nan"]
    )
    gaps = st.sampled_from([" ", "  ", "\t", ";", "; ", ",", ", "])
    text, meant = "", []
    for _ in range(data.draw(st.integers(1, 4))):
        words = data.draw(st.lists(numbers, min_size=2, max_size=5))
        between = data.draw(st.lists(gaps, min_size=len(words) - 1, max_size=len(words) - 1))
        line = words[0] + "".join(gap + word for gap, word in zip(between, words[1:], strict=True)) + "\n"
        # Nobody can know whether the 1,5 of "1,5,2" is one number, or that of "2 1,5" two.
        others = any("," not in gap for gap in between)
        assume(
            others and "," not in between
            if decimal == ","
            else "." in line or "," not in between or not others
        )
        text += line
        meant += [float(word.replace(",", ".")) for word in words]
    try:
        found = read_rows(text.encode()).values
    except ShapeError as error:
        assert re.match("line [1-4]: ", str(error))
    else:
        assert np.array_equal(found, meant, equal_nan=True)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='0123456789.,;-+ \n\t#ex"', max_size=40))
def test_points_for_commas_change_nothing_else(text: str) -> None:
    try:
        changed = with_decimal_points(text.encode()).decode()
    except ShapeError:
        return
    assert len(changed) == len(text) and all(
        a == b or (a, b) == (",", ".") for a, b in zip(text, changed, strict=True)
    )
    assert with_decimal_points(changed.encode()).decode() == changed


@pytest.mark.parametrize(
    "word", ["1.#QNAN", "-1.#IND00", "nan(ind)", "-nan", "NA", "n/a", "NULL", "None", '""']
)
def test_numbers_that_are_not_known(word: str) -> None:
    assert np.isnan(read_rows(f"1 {word} 2".encode()).values).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex {n}\nproperty float x\nend_header\n0\n"),
        ("a.pts", "{n}\n0 0 0\n"),
        ("a.gltf", '{{"asset": {{"version": "2.0"}}, "scene": {n}}}'),
        ("a.off", "OFF\n{n} 1 0\n0 0 0\n"),
        ("a.pcd", "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH {n}\nHEIGHT 1\nDATA ascii\n0 0 0\n"),
    ],
)
def test_a_count_of_thousands_of_digits_is_told_in_our_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text.format(n="9" * 5000))
    with pytest.raises(ShapeError) as refused:
        load_shape(tmp_path / name)
    assert name in str(refused.value)
    assert "sys." not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", [0, 1, 40])
def test_commas_of_comments_hide_no_decimal_ones(end: str, before: int) -> None:
    comment = "# made by A, B and C" + " of D" * 300 + end
    text = comment * before + f"o a, b{end}v 1,5 2,5 3,5{end}" + comment
    changed = with_decimal_points(text.encode(), keyword=b"v").decode()
    assert changed == text.replace("1,5 2,5 3,5", "1.5 2.5 3.5")
    text = text.replace("v 1,5 2,5 3,5", "v 1.5 2.5 3.5")
    assert with_decimal_points(text.encode(), keyword=b"v").decode() == text
    shouted = text.upper().replace("V 1.5 2.5 3.5", "V 1,5 2,5 3,5")
    assert "1.5 2.5 3.5" in with_decimal_points(shouted.encode(), keyword=b"v").decode()
