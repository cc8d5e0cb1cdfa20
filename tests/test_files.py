from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from batchot.errors import RunError
from batchot.files import write_atomically, write_csv, write_json, write_text


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_full_disk_leaves_the_previous_file_and_no_other(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        if failing == "write":
            full()

    if failing != "write":
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(
        RunError, match=r"cannot write .*a.json: No space left on device; the previous a.json"
    ):
        write_atomically(path, write)
    assert only_file(tmp_path) == path
    assert path.read_text() == "old"


def test_stopped_while_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")

    def interrupted(file: IO[bytes]) -> None:
        file.write(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert only_file(tmp_path).read_text() == "old"


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_text(tmp_path / "file" / "a.json", "x")


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "theirs").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_json_and_csv(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"map": 0.5})
    write_csv(tmp_path / "a.csv", [{"epoch": 1, "map": 0.5}, {"epoch": 2, "map": None}])
    assert (tmp_path / "a.json").read_text() == '{\n  "map": 0.5\n}\n'
    assert (tmp_path / "a.csv").read_text() == "epoch,map\n1,0.5\n2,\n"
