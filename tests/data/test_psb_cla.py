"""Classification files of the Princeton Shape Benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.data import DataError
from batchot.data.sets.psb import PsbClass, parse_cla, read_cla
from data.shape_formats import cla_text

# The example of the documentation of the format.
PUBLISHED = """PSB 1
5 17

aircraft 0 4
1119
1121
1123
1125

animal 0 0

quadruped animal 0

dog quadruped 7
86
87
88
89
90
91
92

horse quadruped 6
103
104
105
106
107
108
"""


def test_published_example() -> None:
    parsed = parse_cla(PUBLISHED, Path("example.cla"))
    assert parsed.classes == (
        PsbClass("aircraft", None, ("1119", "1121", "1123", "1125")),
        PsbClass("animal", None, ()),
        PsbClass("quadruped", "animal", ()),
        PsbClass("dog", "quadruped", tuple(str(k) for k in range(86, 93))),
        PsbClass("horse", "quadruped", tuple(str(k) for k in range(103, 109))),
    )
    assert parsed.ancestors("dog") == ("animal", "quadruped", "dog")


@pytest.mark.parametrize(
    ("level", "classes"),
    [
        (None, {"aircraft": 4, "dog": 7, "horse": 6}),
        (3, {"aircraft": 4, "dog": 7, "horse": 6}),
        (2, {"aircraft": 4, "quadruped": 13}),
        (1, {"aircraft": 4, "animal": 13}),
    ],
)
def test_levels(level: int | None, classes: dict[str, int]) -> None:
    labelled = parse_cla(PUBLISHED, Path("example.cla")).labelled(level)
    counts = {name: sum(given == name for _, given in labelled) for _, name in labelled}
    assert counts == classes
    assert [model for model, _ in labelled][:5] == ["1119", "1121", "1123", "1125", "86"]


def test_models_of_an_inner_class() -> None:
    text = cla_text([("animal", "0", ["1"]), ("dog", "animal", ["2"])])
    parsed = parse_cla(text, Path("a.cla"))
    assert parsed.labelled() == (("1", "animal"), ("2", "dog"))
    assert parsed.labelled(1) == (("1", "animal"), ("2", "animal"))


@pytest.mark.parametrize(
    "content",
    [
        PUBLISHED.encode(),
        PUBLISHED.replace("\n", "\r\n").encode(),
        PUBLISHED.replace("\n", "\n\n \t\n").encode(),
        b"\xef\xbb\xbf" + PUBLISHED.encode(),
        " ".join(PUBLISHED.split()).encode(),
        PUBLISHED.strip().encode(),
    ],
)
def test_white_space_does_not_matter(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.cla").write_bytes(content)
    assert read_cla(tmp_path / "a.cla").classes == parse_cla(PUBLISHED, Path("a.cla")).classes


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_letters_of_other_languages(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.cla").write_bytes("PSB 1\n1 1\nStühle 0 1\n7\n".encode(encoding))
    assert read_cla(tmp_path / "a.cla").labelled() == (("7", "Stühle"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("PSB 1", "OFF 1"), r"line 1: expected 'PSB' as the first word of a \.cla file, got 'OFF'"),
        (("PSB 1", "PSB 2"), r"line 1: the format is version 2, only version 1 is known"),
        (("5 17", "five 17"), r"line 2: expected the number of classes, got 'five'"),
        (("5 17", "5 -17"), r"line 2: expected the number of models, got '-17'"),
        (("5 17", "5 18"), r"line 29: the file announces 18 models and lists 17"),
        (("5 17", "4 17"), r"line 23: expected the end after 4 classes, got 'horse'"),
        (("5 17", "6 17"), r"ends after line 29: expected the name of class 6 of 6; it is not whole"),
        (("aircraft 0 4", "aircraft 0 5"), r"line 10: no class may be '0'"),
        (
            ("dog quadruped 7", "dog quadruped"),
            r"ends after line 29: expected model 16 of 86 of the class 'dog'",
        ),
        (
            ("quadruped animal 0", "quadruped beast 0"),
            r"line 12: the class 'beast' above 'quadruped' must be def",
        ),
        (("horse quadruped 6", "dog quadruped 6"), r"line 23: the class 'dog' is there twice"),
        (("horse quadruped 6", "0 quadruped 6"), r"line 23: no class may be '0'"),
        (
            ("107\n108\n", ""),
            r"ends after line 27: expected model 5 of 6 of the class 'horse'; it is not whole",
        ),
        ((PUBLISHED, ""), r"ends after line 1: expected 'PSB'"),
    ],
)
def test_malformed(change: tuple[str, str], message: str) -> None:
    text = PUBLISHED.replace(*change)
    assert text != PUBLISHED
    with pytest.raises(DataError, match=r"bad\.cla(, | )" + message):
        parse_cla(text, Path("bad.cla"))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.cla cannot be read: No such file"):
        read_cla(tmp_path / "none.cla")
