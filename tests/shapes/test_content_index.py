"""Contents are read once, and again when a file has changed."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from batchot.shapes.source import ShapeSource
from batchot.shapes.views import content as content_index
from batchot.shapes.views.content import ContentIndex, hash_content, source_id
from oracles.shape_sources import write_tetrahedra


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sources that are read from here on."""
    names: list[str] = []

    def counted(source: ShapeSource) -> object:
        names.append(source.name)
        return hash_content(source)

    monkeypatch.setattr(content_index, "hash_content", counted)
    return names


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as settled."""
    monkeypatch.setattr(content_index, "SETTLED_SECONDS", -3600.0)


def look_up(sources: list[ShapeSource], path: Path) -> dict[str, str]:
    contents, unreadable = ContentIndex(path).look_up(sources)
    assert not unreadable
    return {source.name: contents[source_id(source)].sha256 for source in sources}


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path, read: list[str]) -> None:
    sources, index = write_tetrahedra(tmp_path, 4), tmp_path / "contents.json"
    first = look_up(sources, index)
    assert first == {s.name: hashlib.sha256(s.path.read_bytes()).hexdigest() for s in sources}
    assert len(read) == 4 and look_up(sources, index) == first and len(read) == 4

    # Changed to the same size and set back to the same time: the kernel still knows.
    path = sources[1].path
    status, text = path.stat(), path.read_text()
    path.write_text(text[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    read.clear()
    second = look_up(sources, index)
    assert read == [sources[1].name] and second[read[0]] == hashlib.sha256(text[::-1].encode()).hexdigest()


def test_a_file_that_was_written_just_now_is_not_trusted_to_stay(tmp_path: Path, read: list[str]) -> None:
    sources, index = write_tetrahedra(tmp_path, 1), tmp_path / "contents.json"
    look_up(sources, index)
    look_up(sources, index)
    assert len(read) == 2


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b"{}", b"garbage\n[]", None])
def test_a_damaged_index_is_made_anew(tmp_path: Path, read: list[str], damage: bytes | None) -> None:
    sources, index = write_tetrahedra(tmp_path, 2), tmp_path / "contents.json"
    first = look_up(sources, index)
    if damage is None:  # another content said of a file, by a bit that has flipped on the disk
        damage = index.read_bytes().replace(first[sources[0].name].encode(), b"0" * 64)
    index.write_bytes(damage)
    assert look_up(sources, index) == first and len(read) == 4
    assert look_up(sources, index) == first and len(read) == 4


@pytest.mark.usefixtures("settled")
def test_two_collections_share_an_index(tmp_path: Path, read: list[str]) -> None:
    sources, index = write_tetrahedra(tmp_path, 4), tmp_path / "contents.json"
    one, two = ContentIndex(index), ContentIndex(index)  # both begin before either has written
    one.look_up(sources[:2])
    two.look_up(sources[2:])
    read.clear()
    look_up(sources, index)
    assert not read


@pytest.mark.usefixtures("settled")
def test_members_of_an_archive_are_told_apart(tmp_path: Path, read: list[str]) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for k in range(3):
            file.writestr(f"{k}.off", f"OFF {k}")
    sources = [ShapeSource(f"{k}", archive, f"{k}.off") for k in range(3)]
    found = look_up(sources, tmp_path / "contents.json")
    assert found == {f"{k}": hashlib.sha256(f"OFF {k}".encode()).hexdigest() for k in range(3)}
    look_up(sources, tmp_path / "contents.json")
    assert len(read) == 3
    archive.write_bytes(b"PK\x03\x04 no archive")
    contents, unreadable = ContentIndex(tmp_path / "contents.json").look_up(sources)
    assert not contents and all(str(archive) in reason for reason in unreadable.values())


@pytest.mark.usefixtures("settled")
def test_gltf_is_its_file_and_those_that_it_names(tmp_path: Path) -> None:
    path, numbers = tmp_path / "chair.gltf", tmp_path / "two words.bin"
    path.write_text(json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "two%20words.bin"}]}))
    source, index = ShapeSource("chair", path), tmp_path / "contents.json"
    missing = look_up([source], index)
    numbers.write_bytes(b"1")
    one = look_up([source], index)
    numbers.write_bytes(b"2")
    two = look_up([source], index)
    assert len({missing["chair"], one["chair"], two["chair"]}) == 3
    numbers.write_bytes(b"1")
    assert look_up([source], index) == one


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (good,) = write_tetrahedra(tmp_path, 1)
    sources = [good, replace(good, path=tmp_path / "gone.off"), replace(good, path=tmp_path)]
    contents, unreadable = ContentIndex(tmp_path / "contents.json").look_up(sources)
    assert list(contents) == [source_id(good)]
    assert (
        "No such file" in unreadable[source_id(sources[1])]
        and "gone.off" in unreadable[source_id(sources[1])]
    )
    assert "no regular file" in unreadable[source_id(sources[2])]
