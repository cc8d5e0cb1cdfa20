"""The examples run, on their small data, and say what is right."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RUN_BELOW = {
    "loop", "memory_and_miners", "under_lightning", "two_processes", "search_over_http", "recognise_a_folder",
    "what_a_plan_looks_at",
}  # fmt: skip


def run(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def run_alone(name: str) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")


def test_each_example_has_a_test_and_is_listed_and_scripts_are_short() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == RUN_BELOW
    page = (EXAMPLES.parent / "docs/examples.md").read_text()
    for file in EXAMPLES.glob("*.py"):
        assert f"(../examples/{file.name})" in page
        text = file.read_text()
        assert "# %%" in text or len(text.splitlines()) <= 60, file.name


def test_loop() -> None:
    assert run("loop")["scores"].map > 0.8


def test_memory_and_miners(capsys: pytest.CaptureFixture[str]) -> None:
    run("memory_and_miners")
    found = [float(value) for value in re.findall(r"mAP (0\.\d+)", capsys.readouterr().out)]
    assert len(found) == 3 and min(found) > 0.5


def test_under_lightning() -> None:
    assert run("under_lightning")["trainer"].callback_metrics["val/map"] > 0.5


def test_two_processes_have_the_loss_of_one() -> None:
    pairs = re.findall(r"two processes (\S+), one (\S+)", run_alone("two_processes"))
    assert len(pairs) == 5
    for two, one in pairs:
        assert float(two) == pytest.approx(float(one), rel=1e-4)


def test_search_over_http() -> None:
    assert re.search(r"stairs \['stairs/", run_alone("search_over_http"))


def test_recognise_a_folder() -> None:
    assert run("recognise_a_folder")["answer"] == "stairs"


def test_what_a_plan_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # without sliders
    uniform, middle, sharp = run("what_a_plan_looks_at")["plans"]
    off = ~uniform.isnan() & (uniform > 0)
    assert uniform[off].std() < 0.01 < middle[off].std() < sharp[off].std()


@pytest.mark.parametrize("name", ["recognise_a_folder", "what_a_plan_looks_at"])
def test_jupytext_makes_a_notebook(name: str) -> None:
    import jupytext

    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    assert [cell.cell_type for cell in notebook.cells].count("code") >= 3
    assert notebook.cells[0].cell_type == "markdown"
