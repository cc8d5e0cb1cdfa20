"""The commands for shapes, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchot.cli import main
from shape_folders import SMALL_RUN, write_folder, write_off


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli shapes") / "моё собрание", train=4, test=2)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli run") / "run"
    where = ["--data-root", str(folder), "--out", str(out), "--device=cpu"]
    assert main(["train", "shape-folder-scratch", *where, *SMALL_RUN]) == 0
    return out


def test_folder_of_shapes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name: shape-folder-scratch" in (run / "config.yaml").read_text()
    assert json.loads((run / "metrics.json").read_text())["epoch"] == 1
    assert main(["evaluate", str(run), "--device=cpu"]) == 0
    assert "accuracy (head)" in capsys.readouterr().out


def test_report_again(run: Path) -> None:
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert "airplane" in (run / "report.html").read_text()


def test_report_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_embed(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(run), str(folder), "--out", str(tmp_path / "e.npz"), "--device=cpu"]) == 0
    with np.load(tmp_path / "e.npz") as archive:
        assert archive["embeddings"].shape == (18, 8)
    one = next((folder / "bottle" / "test").iterdir())
    assert main(["embed", str(run), str(one), "--out", str(tmp_path / "e.csv"), "--device=cpu"]) == 0
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 2
    capsys.readouterr()
    assert main(["embed", str(run), str(one), "--out", str(tmp_path / "e.txt")]) == 2
    assert "the ending must be .npz or .csv" in capsys.readouterr().err


def test_embed_leaves_out_what_is_damaged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_off(tmp_path / "in" / "good.off", "bottle", 1)
    (tmp_path / "in" / "bad.off").write_text("OFF\n3 1 0\n0 0")
    assert main(["embed", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "e.npz")]) == 1
    text = capsys.readouterr().out
    assert "bad" in text
    assert "1 of 2 were left out" in text


def test_render_pictures_and_sheet(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["render", str(folder), "--out", str(tmp_path / "out"), "--cameras=box-6", "--size=40"]
    sheet = tmp_path / "sheet.png"
    assert main([*arguments, "--channels=shaded,depth", "--sheet", str(sheet), "--processes=1"]) == 0
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    assert len(pictures) == 18 * 6 * 2
    assert pictures[0].name == "airplane 0_000_depth.png"
    with Image.open(pictures[0]) as picture, Image.open(sheet) as drawn:
        assert picture.size == (40, 40)
        assert drawn.size[0] > 6 * 40
    assert "18 rendered now" in capsys.readouterr().out
    assert main([*arguments, "--channels=shaded,depth"]) == 0
    assert "0 rendered now" in capsys.readouterr().out


def test_render_goes_on_after_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_off(tmp_path / "good.off", "stairs", 1)
    (tmp_path / "bad.off").write_text("OFF\n3 1 0\n0 0")
    assert main(["render", str(tmp_path), "--size=32", "--cameras=box-6", "--processes=1"]) == 1
    text = capsys.readouterr().out
    assert "1 shapes, 6 views of 32 x 32" in text
    assert "bad" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels=shaded,colour"], "there is no channel"),
        (["--cameras=sphere"], "circle-12"),
        (["--size=0"], "must be positive"),
        (["--processes=0"], "must be positive"),
    ],
)
def test_render_refuses(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(tmp_path / "missing")]) == 1
    assert "neither a file nor a folder" in capsys.readouterr().err
    assert main(["train", "folder", "--data-root", str(tmp_path)]) == 2
    assert "holds neither shapes nor images" in capsys.readouterr().err
    assert main(["train", "folder"]) == 2
    assert "give --data-root" in capsys.readouterr().err


def test_audit_of_our_views(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(folder), "--size=32", "--cameras=box-6"]) == 0
    assert "no leak was found" in capsys.readouterr().out


def test_audit_finds_a_planted_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, name in enumerate(("cup", "pan")):
        (tmp_path / name).mkdir()
        for i in range(12):
            picture = np.full((32, 32), 250 - 10 * k, np.uint8)
            picture[10:20, 10 : 14 + i % 4] = 90
            Image.fromarray(picture).save(tmp_path / name / f"{name}{i}_001.png")
    assert main(["audit", "--images", str(tmp_path)]) == 1
    assert "LEAK" in capsys.readouterr().out
