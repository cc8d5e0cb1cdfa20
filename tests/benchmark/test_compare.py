"""A whole comparison of seconds, and what may go wrong on the way."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from batchot.benchmark.compare import Compared, Comparison, claim, compare
from batchot.benchmark.job import FINISHED, MEASURED, Job
from batchot.benchmark.page import make_comparison_page
from batchot.benchmark.results import (
    interval_at,
    lead,
    machines,
    markdown,
    mean_interval,
    reached,
    target_of,
    values_at,
    write_results,
)
from batchot.benchmark.runner import Runner
from batchot.cli import main
from batchot.errors import RunError
from batchot.training.recipes import load_recipe
from data.published_formats import idx_bytes
from shape_folders import write_folder

SMALL = (
    ("epochs", "2"),
    ("data.limit", "200"),
    ("batch.size", "50"),
    ("evaluation.train_samples", "100"),
    ("model.widths", "[16,8]"),
    ("model.channels", "[4,8]"),
)
COMPARISON = Comparison(
    "digits",
    SMALL,
    losses=("batch-ot", "supcon"),
    seeds=(1, 2),
    trials=2,
    tuning=(("epochs", "1"),),
    device="cpu",
    processes=2,
    command="batchot compare digits",
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compared, Path, list[str]]:
    out = tmp_path_factory.mktemp("compare") / "out"
    told: list[str] = []
    return compare(COMPARISON, out, told.append), out, told


def test_every_loss_has_its_trials_and_its_seeds(done) -> None:
    compared, _out, told = done
    assert len(told) == 8
    assert told[-1].startswith("[8/8] ")
    for result in compared.results:
        assert [trial.number for trial in result.trials] == [0, 1]
        assert sorted(result.runs) == [1, 2]
        scores = [trial.score or 0 for trial in result.trials]
        assert result.values == result.trials[scores.index(max(scores))].values
        for run in result.runs.values():
            assert [row.epoch for row in run.rows] == [1, 2]
            assert all(0 < (row.map or 0) <= 1 for row in run.rows)
            assert not (run.folder / "checkpoints").exists()
        first, second = (run.rows[-1].map for run in result.runs.values())
        assert first != second


def test_the_same_again_runs_nothing_and_says_the_same(done) -> None:
    compared, out, _ = done
    told: list[str] = []
    again = compare(COMPARISON, out, told.append)
    assert all("(was there)" in line for line in told)
    assert [r.values for r in again.results] == [r.values for r in compared.results]
    for one, other in zip(again.results, compared.results, strict=True):
        assert {s: run.rows for s, run in one.runs.items()} == {s: run.rows for s, run in other.runs.items()}


def test_results_are_what_the_runs_say(done) -> None:
    compared, out, _ = done
    values = write_results(compared, out)
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(values))
    with (out / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8
    for loss in values["losses"]:
        for seed in (1, 2):
            folder = next(run["folder"] for run in loss["runs"] if run["seed"] == seed)
            with (out / "runs" / loss["name"] / folder / "history.csv").open() as file:
                rows = list(csv.DictReader(file))
            mine = [line for line in lines if (line["loss"], line["seed"]) == (loss["name"], str(seed))]
            assert [line["map"] for line in mine] == [row["map"] for row in rows]
            measured = json.loads((out / "runs" / loss["name"] / folder / MEASURED).read_text())
            assert {line["finished"] for line in mine} == {measured["finished"]}
            assert {line["processor"] for line in mine} == {measured["machine"]["processor"]}
            assert all(line["torch"] for line in mine)
        last = loss["epochs"][-1]["map"]
        expected = mean_interval([run["rows"][-1]["map"] for run in loss["runs"]])
        assert (last["mean"], last["half"]) == (expected.mean, expected.half)
    first, second = compared.results
    differences = [values_at(first, 2, "map")[seed] - values_at(second, 2, "map")[seed] for seed in (1, 2)]
    assert lead(first, second, 2) == mean_interval(differences)
    goal = target_of(compared, 2)
    assert goal == interval_at(second, 2, "map").mean  # type: ignore[union-attr]  # the peer, not the best of all
    assert reached(second, 0.0).epochs == 1
    assert reached(second, 1.1).runs == 0
    table = (out / "results.md").read_text()
    assert "| **batch-ot** | " in table
    assert "| supcon | " in table
    page = make_comparison_page(compared, values)
    assert page.count("<picture>") == 7
    assert "batchot compare digits" in page
    assert "<script" not in page


def test_more_seeds_and_losses_add_to_what_is_there(done) -> None:
    _, out, _ = done
    told: list[str] = []
    compare(dataclasses.replace(COMPARISON, losses=("batch-ot",), seeds=(1, 2, 3)), out, told.append)
    assert sum("(was there)" not in line for line in told) == 1


def test_runs_keep_when_and_where_they_were_measured(done) -> None:
    compared, out, _ = done
    run = compared.results[1].runs[2]
    path = run.folder / MEASURED
    was = path.read_text()
    elsewhere = {
        "finished": "2020-02-02T02:02:02+00:00",
        "machine": {**run.measured["machine"], "processor": "Z80"},
    }
    path.write_text(json.dumps(elsewhere))
    try:
        again = compare(COMPARISON, out)
        assert machines(again.results) == [run.measured["machine"]["processor"], "Z80"]
        values = write_results(again, out)
        with (out / "results.csv").open() as file:
            old = [line for line in csv.DictReader(file) if line["processor"] == "Z80"]
        assert {(line["loss"], line["seed"], line["finished"][:4]) for line in old} == {
            ("supcon", "2", "2020")
        }
        assert "Z80" in make_comparison_page(again, values)
    finally:
        path.write_text(was)


def test_a_folder_is_of_one_comparison(done, tmp_path: Path) -> None:
    compared, out, _ = done
    write_results(compared, out)
    before = (out / "results.json").read_text()
    for change in ({"overrides": (*SMALL, ("epochs", "3"))}, {"recipe": "mnist"}, {"joint": True}):
        with pytest.raises(RunError, match=r"holds another comparison, with .*give another --out"):
            compare(dataclasses.replace(COMPARISON, **change), out)
    assert (out / "results.json").read_text() == before
    folders = dataclasses.replace(
        COMPARISON, recipe="image-folder-scratch", overrides=(), data_root=tmp_path / "a"
    )
    claim(tmp_path, folders)
    claim(tmp_path, dataclasses.replace(folders, seeds=(5,), trials=9, losses=("triplet",)))
    with pytest.raises(RunError, match=r"--data-root=.*a .here .*b."):
        claim(tmp_path, dataclasses.replace(folders, data_root=tmp_path / "b"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(RunError, match="holds a training run"):
        compare(COMPARISON, tmp_path / "run")


def test_what_lies_in_the_test_set_changes_nothing_of_the_tuning(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (10, 28, 28))

    def images(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        noise = generator.integers(0, 256, (len(labels), 28, 28))
        return (0.4 * patterns[labels] + 0.6 * noise).astype(np.uint8)

    labels = {"train": np.arange(200) % 10, "t10k": np.arange(100) % 10}
    files = {
        f"{stem}-{kind}-ubyte": idx_bytes(values.astype(np.uint8))
        for stem, y in labels.items()
        for kind, values in (("images-idx3", images(y)), ("labels-idx1", y))
    }
    other = {
        **files,
        "t10k-labels-idx1-ubyte": idx_bytes(generator.permutation(labels["t10k"]).astype(np.uint8)),
    }
    found = []
    for name, content in (("one", files), ("other", other)):
        root = tmp_path / name
        root.mkdir()
        for file, data in content.items():
            (root / file).write_bytes(data)
        small = (("epochs", "1"), ("batch.size", "30"), ("evaluation.train_samples", "100"))
        comparison = Comparison(
            "mnist", small, ("batch-ot",), (1,), 1, data_root=root, device="cpu", processes=2, validation=0.2
        )
        found += compare(comparison, tmp_path / f"out-{name}").results
    one, another = found
    assert one.trials == another.trials
    assert one.runs[1].map != another.runs[1].map  # where it counts, the test set is looked at


def test_divergence_is_a_result_and_counts_as_nothing(tmp_path: Path) -> None:
    overrides = (*SMALL, ("loss.normalize", "false"), ("optim.name", "sgd"), ("optim.lr", "1e30"))
    comparison = dataclasses.replace(
        COMPARISON, overrides=overrides, losses=("batch-ot",), seeds=(1,), trials=0
    )
    compared = compare(comparison, tmp_path)
    (result,) = compared.results
    assert result.runs[1].diverged is not None
    assert "NaN" in result.runs[1].diverged
    assert values_at(result, 2, "map") == {1: 0.0}
    note = "batch-ot: training diverged in 1 of 1 runs, which count as 0."
    page = make_comparison_page(compared, write_results(compared, tmp_path))
    for told in (markdown(compared), page):
        assert "No run was measured." in told  # it diverged before it was evaluated
        assert note in told


def test_other_failures_end_the_comparison_and_say_where(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "runs", 1)
    recipe = load_recipe("mnist", [("epochs", "1")])
    (tmp_path / "empty").mkdir()
    job = Job(recipe, tmp_path / "empty", "cpu")
    (tmp_path / "empty" / "train-images-idx3-ubyte").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"runs/x/.*"):
        runner.run("x", job)
    assert not list((tmp_path / "runs").rglob(FINISHED))


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_interrupted_comparisons_leave_no_process_and_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "batchot",
        "compare",
        "digits",
        *(f"{n}={v}" for n, v in SMALL),
        "epochs=500",
    ]
    command += ["--losses", "batch-ot", "supcon", "--trials", "0", "--seeds", "1", "--device", "cpu"]
    command += ["--processes", "2", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while len(list((tmp_path / "out").rglob("history.csv"))) < 2:
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode == 1
        assert "another comparison is at work" in second.stderr
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == f"batchot: interrupted; the same command goes on with {tmp_path / 'out'}\n"
    assert "stopping 2 runs" in output
    assert len(list((tmp_path / "out").rglob("last.ckpt"))) == 2
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert not left


def test_a_run_ends_when_its_comparison_was_killed(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "batchot",
        "compare",
        "digits",
        *(f"{n}={v}" for n, v in SMALL),
        "epochs=5000",
    ]
    command += [
        "--losses",
        "batch-ot",
        "--trials",
        "0",
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not list(tmp_path.rglob("history.csv")):
            assert time.monotonic() < end
            time.sleep(0.2)
        process.kill()
    while time.monotonic() < end:
        if not subprocess.run(["pgrep", "-f", f"worker {tmp_path}"], capture_output=True).stdout:
            break
        time.sleep(0.3)
    else:
        pytest.fail("the run goes on without its comparison")
    assert list(tmp_path.rglob("last.ckpt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--losses", "supon"], "did you mean supcon"),
        (["digits", "--seeds", "0"], "--seeds"),
        (["digits", "lam"], "no SETTING=VALUE"),
        (["digits", "loss.lamm=3"], "did you mean loss.lam"),
        (["digits", "--target", "300"], "--target"),
        (["digits", "--processes", "0"], "--processes"),
        (["digits", "seed=4"], "belongs to --seeds"),
    ],
)
def test_mistakes_are_told_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_ones_own_is_compared_as_it_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "parts", train=6, test=3)
    small = [
        "shapes.size=32",
        "shapes.cameras=box-6",
        "batch.size=6",
        "batch.classes_per_batch=3",
        "evaluation.train_samples=18",
    ]
    command = [
        "compare",
        "folder",
        *small,
        "--data-root",
        str(tmp_path / "parts"),
        "--out",
        str(tmp_path / "out"),
    ]
    given = ["--losses", "batch-ot", "supcon", "--seeds", "1", "--trials", "0", "--epochs", "1"]
    assert main([*command, *given, "--device", "cpu"]) == 0
    assert "| shape-folder |" in capsys.readouterr().out
    values = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [loss["name"] for loss in values["losses"]] == ["batch-ot", "supcon"]
    assert main(["compare", "folder", "--out", str(tmp_path / "other")]) == 2
    assert "give --data-root" in capsys.readouterr().err
