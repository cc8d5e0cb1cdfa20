"""Downloads, from a web server on this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchot.data import DataError, DownloadError
from batchot.data.sets.places import download_file

CONTENT = b"ten bytes." * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_good(web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.files["/file"] = CONTENT
    path = download_file((web.address("/file"),), MD5, tmp_path / "new" / "file")
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new") == ["file"]
    assert "100%" in capsys.readouterr().err


def test_whole_file_is_not_downloaded_again(web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    download_file((web.address("/file"),), MD5, tmp_path / "file")
    assert web.asked_for == []


def test_damaged_file_is_replaced(web, tmp_path: Path) -> None:
    web.files["/file"] = CONTENT
    (tmp_path / "file").write_bytes(CONTENT[:50])
    assert download_file((web.address("/file"),), MD5, tmp_path / "file").read_bytes() == CONTENT


def test_mirrors_in_turn(web, tmp_path: Path) -> None:
    web.files |= {"/wrong": b"another file", "/short": CONTENT, "/good": CONTENT, "/never": CONTENT}
    web.cut["/short"] = 700
    urls = tuple(web.address(path) for path in ("/absent", "/wrong", "/short", "/good", "/never"))
    assert download_file(urls, MD5, tmp_path / "file").read_bytes() == CONTENT
    assert web.asked_for == ["/absent", "/wrong", "/short", "/good"]
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("path", "reason"), [("/absent", "404"), ("/wrong", "hash"), ("/short", "700 bytes read")]
)
def test_failure_leaves_nothing_and_says_why(web, tmp_path: Path, path: str, reason: str) -> None:
    web.files |= {"/wrong": b"another file", "/short": CONTENT}
    web.cut["/short"] = 700
    with pytest.raises(DownloadError) as error:
        download_file((web.address(path),), MD5, tmp_path / "file")
    assert web.address(path) in str(error.value)
    assert reason in str(error.value)
    assert os.listdir(tmp_path) == []


def test_failure_keeps_what_was_there(web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"an older version")
    with pytest.raises(DataError):
        download_file((web.address("/absent"),), MD5, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"an older version"


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"is there a network\?(.|\n)*http://127.0.0.1:9/file"):
        download_file(("http://127.0.0.1:9/file",), MD5, tmp_path / "file")


def test_folder_that_cannot_be_written(web, tmp_path: Path) -> None:
    web.files["/file"] = CONTENT
    (tmp_path / "not a folder").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be written"):
        download_file((web.address("/file"),), MD5, tmp_path / "not a folder" / "file")


def test_killed_download_leaves_no_file_that_looks_whole(web, tmp_path: Path) -> None:
    web.files["/file"] = CONTENT
    web.cut["/file"] = 5000
    web.stalls = True
    code = (
        "import sys; from pathlib import Path; from batchot.data.sets.places import download_file;"
        "download_file((sys.argv[1],), sys.argv[2], Path(sys.argv[3]))"
    )
    path = tmp_path / "cache" / "file"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, web.address("/file"), MD5, str(path)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    while not (path.parent.is_dir() and any(file.stat().st_size for file in path.parent.iterdir())):
        assert process.poll() is None, "the download ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    web.released.set()
    assert not path.exists()
    web.cut.clear()
    assert download_file((web.address("/file"),), MD5, path).read_bytes() == CONTENT
