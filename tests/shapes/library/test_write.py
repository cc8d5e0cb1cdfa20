from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from batchot.shapes import ShapeError
from batchot.shapes.library import generate, generate_shape, write_library

CLASSES = ("bench", "bowl")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def small(folder: Path, **changes: int) -> Path:
    return write_library(folder, classes=CLASSES, **({"per_class": 4} | changes))


def test_layout_is_that_of_modelnet(tmp_path: Path) -> None:
    assert small(tmp_path / "new") == tmp_path / "new"
    names = sorted(path.relative_to(tmp_path / "new").as_posix() for path in tmp_path.rglob("*.off"))
    assert names == [
        f"{name}/{split}/{name}_{number:04d}.off"
        for name in CLASSES
        for split, numbers in (("test", [4]), ("train", [1, 2, 3]))
        for number in numbers
    ]


def test_file_holds_the_shape_of_its_seed_to_the_last_bit(tmp_path: Path) -> None:
    small(tmp_path, seed=2)
    lines = (tmp_path / "bowl/train/bowl_0003.off").read_text().split("\n")
    mesh = generate_shape("bowl", 2_000_003)
    n, m = len(mesh.vertices), len(mesh.faces)
    assert lines[:2] == ["OFF", f"{n} {m} 0"]
    assert np.array_equal(np.loadtxt(lines[2 : 2 + n]), mesh.vertices)
    assert np.array_equal(np.loadtxt(lines[2 + n : 2 + n + m], dtype=int)[:, 1:], mesh.faces)


def test_second_call_writes_nothing(tmp_path: Path) -> None:
    small(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    small(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_lost_and_broken_files_are_made_good(tmp_path: Path) -> None:
    small(tmp_path)
    whole = files(tmp_path)
    (tmp_path / "bowl/train/bowl_0001.off").unlink()
    (tmp_path / "bowl/train/bowl_0002.off").write_bytes(b"OFF\n")
    small(tmp_path)
    assert files(tmp_path) == whole


def test_interrupted_call_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path / "whole")
    made = []

    def tired(name: str, seed: int) -> object:
        made.append(seed)
        if len(made) == 4:
            raise KeyboardInterrupt
        return generate_shape(name, seed)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "generate_shape", tired)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "broken")
    assert not list((tmp_path / "broken").rglob("*.part"))
    small(tmp_path / "broken")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_smaller_library_leaves_no_shapes_behind(tmp_path: Path) -> None:
    small(tmp_path / "a", per_class=8)
    (tmp_path / "a/bowl/notes.txt").write_text("mine")
    small(tmp_path / "a")
    assert (tmp_path / "a/bowl/notes.txt").read_text() == "mine"
    (tmp_path / "a/bowl/notes.txt").unlink()
    assert files(tmp_path / "a") == files(small(tmp_path / "b"))


def test_library_of_another_version_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(generate, "GENERATOR_VERSION", -1)
        patch.setattr(generate, "generate_shape", lambda name, seed: generate_shape("cup", seed))
        small(tmp_path)
    small(tmp_path)
    assert files(tmp_path) == files(small(tmp_path.parent / "fresh"))


def test_other_seed_gives_other_shapes(tmp_path: Path) -> None:
    first, second = files(small(tmp_path / "a")), files(small(tmp_path / "b", seed=1))
    shapes = [
        {content for name, content in found.items() if name.endswith(".off")} for found in (first, second)
    ]
    assert not shapes[0] & shapes[1]


def test_foreign_files_of_the_same_name_are_not_overwritten(tmp_path: Path) -> None:
    theirs = tmp_path / "bowl/train/bowl_0001.off"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("ModelNet's")
    with pytest.raises(ShapeError, match=r"bowl_0001\.off: is there and not from this library"):
        small(tmp_path)
    assert files(tmp_path) == {"bowl/train/bowl_0001.off": b"ModelNet's"}


@pytest.mark.parametrize("content", ["{", "[]", '{"files": 3}', "{}"])
def test_broken_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "library.json").write_text(content)
    with pytest.raises(ShapeError, match=r"library\.json: not the manifest"):
        small(tmp_path)


def test_manifest_says_what_made_it(tmp_path: Path) -> None:
    small(tmp_path, seed=5)
    manifest = json.loads((tmp_path / "library.json").read_text())
    assert manifest["generator"] == generate.GENERATOR_VERSION
    assert manifest["seed"] == 5
    assert len(manifest["files"]) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_class": 0}, "per_class must lie"),
        ({"seed": -1}, "seed must be"),
        ({"test_fraction": 1}, "test_fraction"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(tmp_path, **changes)


def test_unknown_class_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="did you mean 'bowl'"):
        write_library(tmp_path / "new", classes=("bowll",))
    assert not (tmp_path / "new").exists()


def test_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"make room on that disk.*library\.json"):
        small(tmp_path)
    assert files(tmp_path) == {}
