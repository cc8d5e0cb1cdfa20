"""The command line: mistakes are told before any work, in one message without a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from batchot.cli import main

SMALL = [
    "data.limit=200",
    "batch.size=50",
    "evaluation.train_samples=100",
    "model.widths=[16,8]",
    "model.channels=[4,8]",
]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be a message and no traceback."""
    text = capsys.readouterr().err
    assert text.startswith("batchot: ")
    assert "Traceback" not in text
    return text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    arguments = ["train", "digits", "--out", str(out), "--epochs", "2", "--seed=3", "--device", "cpu", *SMALL]
    assert main([*arguments, "--loss.lam", "4", "loss.gamma=6"]) == 0
    return out


def test_training_fills_a_run_folder(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epoch"] == 2
    assert metrics["seed"] == 3
    config = (run / "config.yaml").read_text()
    assert "lam: 4.0" in config
    assert "gamma: 6.0" in config
    assert "batchot train digits" in config
    for name in ("curves", "embedding", "retrieved"):
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 3
    assert "<script" not in page


def test_evaluation_gives_the_figures_of_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    metrics, text = json.loads((run / "metrics.json").read_text()), capsys.readouterr().out
    for name in ("map", "nn", "ft", "st", "e", "dcg", "accuracy"):
        assert f"{100 * metrics[name]:.2f}" in text


def test_recipes_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    text = capsys.readouterr().out
    for name in ("mnist", "cifar10", "cifar10-long", "digits", "image-folder", "shape-folder", "mnist-paper"):
        assert f"\n{name} " in f"\n{text}"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("batchot ")
    assert main([]) == 0
    assert "train RECIPE" in capsys.readouterr().out
    assert main(["train", "mnist", "--help", "loss.lam=3"]) == 0
    assert "loss.lam = 3.0 (a number)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["trian", "mnist"],
            "there are train, evaluate, embed, index, search, serve, export, report, compare, reproduce, render, "
            "audit, recipes; did you mean train?",
        ),
        (["train"], "which recipe? There are cifar10"),
        (["train", "mnsit"], "did you mean mnist?"),
        (["train", "nowhere/mine.yaml"], "no recipe file"),
        (["train", "digits", "--epoch", "3"], "unknown option --epoch; did you mean --epochs?"),
        (["train", "digits", "--loss.lamda", "3"], "unknown option --loss.lamda; did you mean --loss.lam?"),
        (["train", "digits", "los=contrastive"], "unknown option los"),
        (["train", "digits", "--dataroot", "x"], "did you mean --data-root?"),
        (["train", "digits", "loss=contrastve"], "allowed: batch-ot, uniform, contrastive"),
        (["train", "digits", "--loss.lam", "x"], "loss.lam: 'x' is not allowed; allowed: a number"),
        (["train", "digits", "--loss.lam"], "--loss.lam needs a value"),
        (["train", "digits", "--device", "gpu"], "choose from"),
        (["train", "digits", "--epochs", "0"], "epochs: 0 is not allowed"),
        (["train", "--resume"], "--resume needs --out"),
        (["train", "--resume", "--out", "nowhere"], "there is no run in nowhere"),
        (["train", "digits", "mnist"], "unrecognized arguments: mnist"),
        (["evaluate"], "RUN"),
        (["compare", "digits", "--seeds", "0", "epochs=1"], "--seeds: 0 is not allowed"),
        (["train", "digits", "loss=triplet", "loss.options.margn=1"], "did you mean margin?"),
    ],
)
def test_mistakes_in_arguments(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in told(capsys)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_that_lie_in_files(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "digits", "--out", str(run)]) == 1
    assert "holds a run already" in told(capsys)
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "is no run folder" in told(capsys)
    assert (
        main(["train", "mnist", "--data-root", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    )
    assert str(tmp_path / "none") in told(capsys)
    assert not (tmp_path / "out").exists()


def test_resume_without_the_recipe_takes_that_of_the_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.json").read_text()
    assert main(["train", "--resume", "--out", str(run), "--device", "cpu"]) == 0
    assert (run / "metrics.json").read_text() == before
    assert main(["train", "--resume", "--out", str(run), "loss.lam=2"]) == 1
    assert "loss.lam is 2.0 here but 4.0 in" in told(capsys)


def test_default_folder_is_new_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits-supcon-seed0").mkdir(parents=True)
    assert main(["train", "digits", "--epochs=1", "loss=supcon", "--device=cpu", *SMALL]) == 0
    assert (tmp_path / "runs" / "digits-supcon-seed0-2" / "metrics.json").is_file()
    assert sorted(f.name for f in (tmp_path / "runs").iterdir()) == [
        "digits-supcon-seed0",
        "digits-supcon-seed0-2",
    ]
    assert [f.name for f in tmp_path.iterdir()] == ["runs"]


def test_recipe_file_of_a_user(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ndata: {name: digits, limit: 100}\nepochs: 1\nbatch: {size: 50}\n")
    assert main(["train", str(file), "--out", str(tmp_path / "out"), "--device", "cpu", *SMALL[2:]]) == 0
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_arguments_are_checked_without_torch() -> None:
    program = (
        "import sys; from batchot.cli import main; "
        "wrong = (['train', 'mnsit'], ['train', 'mnist', 'loss.lam=x']); "
        "codes = [main(a) for a in (['--help'], ['recipes'], *wrong)]; "
        "assert codes == [0, 0, 2, 2], codes; "
        "assert not {'torch', 'lightning', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "batchot",
        "train",
        "digits",
        "--epochs",
        "500",
        "--out",
        str(out),
        *SMALL,
    ]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == f"batchot: interrupted; go on with: batchot train --resume --out {out}\n"
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] >= 8


def test_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for shade, name in ((40, "dark"), (200, "light")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(8):
                Image.new("RGB", (20, 12), (shade + i, shade, shade - i)).save(folder / f"{i}.png")
    arguments = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--epochs=6"]
    small = ["batch.size=8", "--device=cpu", "data.image_size=32", "model.widths=[16,8]"]
    assert main(["train", "folder", *arguments, *small]) == 0
    assert "pretrained: package" in (tmp_path / "out" / "config.yaml").read_text()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["map"] == 1.0
    assert main(["evaluate", str(tmp_path / "out")]) == 0  # the folder of the data is remembered
