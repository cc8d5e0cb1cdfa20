"""What `pip install batchot` brings and what works with it: the wheel, the base install, the types."""

from __future__ import annotations

import email
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchot.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

BASE_ONLY = r"""
import re, sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

allowed = set()
def allow(name):
    if plain(name) not in allowed:
        allowed.add(plain(name))
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            needed = []
        for line in needed:
            if "extra ==" not in line:
                allow(re.match(r"[\w.-]+", line).group())

for name in ("torch", "numpy", "numba"):
    allow(name)
allowed.add("batchot")
missing = {
    top for top, owners in packages_distributions().items() if not any(plain(o) in allowed for o in owners)
}
assert {"lightning", "sklearn", "yaml", "tqdm", "PIL"} <= missing, missing

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def run(command: Sequence[str | Path], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=1500,
    )


def with_base_only(code: str, folder: Path) -> str:
    """Run code where only torch, numpy, numba and what these need can be imported; return its output."""
    done = run([sys.executable, "-c", BASE_ONLY + code], folder, PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_loss_solver_measures_and_shapes_need_torch_numpy_and_numba_only(tmp_path: Path) -> None:
    (tmp_path / "a.off").write_text("OFF\n4 2 0\n0 0 0\n2 0 0\n0 2 0\n0 0 1\n3 0 1 2\n3 0 1 3\n")
    code = """
import torch, batchot
for name in batchot.__all__:
    if name != "Learner":  # is a LightningModule
        getattr(batchot, name)
assert batchot.make_backbone("resnet10-w4", image_size=8).out_features == 32 and batchot.list_backbones("alexnet")
x, y = torch.randn(24, 4, requires_grad=True), torch.arange(24) % 3
batchot.BatchOTLoss()(x, y).backward()
batchot.CrossModalBatchOTLoss()(x, y, x * 2, y).backward()
assert x.grad.isfinite().all()
assert batchot.sinkhorn(torch.rand(5, 6), lam=5.0).converged
assert batchot.retrieval_scores(x, y, engine="numba").map > 0
assert batchot.classification_scores(y, y, 3).accuracy == 1
assert batchot.render_views(batchot.load_shape("a.off")).shape[0] == 12
"""
    with_base_only(code, tmp_path)


def test_a_missing_extra_is_named_with_the_command_to_type(tmp_path: Path) -> None:
    code = """
import batchot, torch
from batchot.cli import main
from batchot.evaluation import svm_predictions
from batchot.shapes import MissingExtraError
def fails(work):
    try:
        work()
    except MissingExtraError as error:
        print(error)
def train():
    from batchot.training import train
def digits():
    from batchot.data import load_digits
    load_digits()
fails(lambda: svm_predictions(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]), torch.randn(2, 2)))
fails(train)
fails(digits)
fails(lambda: batchot.Learner)
for arguments in (["train", "digits"], ["report", "x"], ["render", "a.off"]):
    assert main(arguments) == 1, arguments
"""
    said = with_base_only(code, tmp_path)
    assert said.count("pip install 'batchot[train]'") >= 7, said


def test_every_package_of_an_extra_is_known_by_its_import_name() -> None:
    distribution_of = {
        "PIL": "pillow", "collada": "pycollada", "multipart": "python-multipart", "ot": "POT",
        "sklearn": "scikit-learn", "yaml": "pyyaml",
    }  # fmt: skip
    brought_along = {"docstring_parser", "fastapi", "starlette", "uvicorn"}  # by jsonargparse and NiceGUI
    for package, extra in EXTRAS.items():
        if package not in brought_along:
            wanted = distribution_of.get(package, package.replace("_", "-")).lower()
            listed = [re.split(r"[<>=\[]", r)[0].lower() for r in PROJECT["optional-dependencies"][extra]]
            assert wanted in listed, (package, extra)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    done = run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, "."], tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("batchot-*.tar.gz"))) == 1
    [file] = out.glob("batchot-*-py3-none-any.whl")
    return file


def test_the_wheel_needs_three_packages_and_carries_its_licence(wheel: Path) -> None:
    assert wheel.stat().st_size < 2_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    needed = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split(r"[<>=]", line)[0] for line in needed) == ["numba", "numpy", "torch"]
    extras = set(about.get_all("Provides-Extra", []))
    assert extras >= {"train", "shapes", "search", "export", "compare", "ray", "pretrained", "all"}
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Author"] == "the batchot developers"
    assert {"LICENSE", "NOTICE"} == {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    for file in (ROOT / "src/batchot").rglob("*"):
        if file.suffix in (".py", ".yaml", ".js", ".css", ".typed"):
            assert f"batchot/{file.relative_to(ROOT / 'src/batchot').as_posix()}" in names
    assert all(name.startswith("batchot") for name in names)


def test_the_installed_wheel_trains_and_reads_a_mesh(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    done = run([*pip, "--no-deps", "--no-index", wheel], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # what the wheel needs is that of this environment; the path of a .pth does not bring an editable install along
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    [packages] = home.glob("[Ll]ib/**/site-packages")
    (packages / "others.pth").write_text("\n".join(sorted(here)))

    (tmp_path / "a.off").write_text("OFF\n4 2 0\n0 0 0\n2 0 0\n0 2 0\n0 0 1\n3 0 1 2\n3 0 1 3\n")
    code = "import batchot; print(batchot.__file__, batchot.__version__, batchot.load_shape('a.off').faces.shape)"
    done = run([python, "-c", code], tmp_path)
    assert str(packages) in done.stdout and done.stdout.strip().endswith(f"{PROJECT['version']} (2, 3)"), done

    code = (
        "from pathlib import Path\n"
        "from batchot.training import load_recipe, train\n"
        "small = [('data.limit', '200'), ('batch.size', '50'), ('epochs', '1')]\n"
        "train(load_recipe('digits', small), Path('run'), device='cpu')"
    )
    done = run([python, "-c", code], tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()
    done = run([python.with_name("batchot"), "--version"], tmp_path)
    assert done.stdout == f"batchot {PROJECT['version']}\n", done


SNIPPET = """\
import torch
from batchot import BatchOTLoss, Learner, Plan, load_shape, make_backbone, retrieval_scores, sinkhorn

loss_of = BatchOTLoss(lam=5.0, grad="implicit")
loss: torch.Tensor = loss_of(torch.randn(8, 4), torch.arange(8) % 2)
plan: Plan = sinkhorn(torch.rand(3, 4), lam=5.0)
converged: bool = plan.converged
scores = retrieval_scores(torch.randn(8, 4), torch.arange(8) % 2, distance="cosine")
learner = Learner(make_backbone("resnet10-w4", image_size=8), loss_of)
embeddings: torch.Tensor = learner(torch.zeros(2, 1, 8, 8))
total: float = scores.map + scores.recall_at[5] + sum(scores.to_dict().values())
"""


def test_types_reach_the_user(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(SNIPPET)
    (tmp_path / "wrong.py").write_text(
        SNIPPET
        + 'BatchOTLoss(lam="5")\nBatchOTLoss(grad="none")\nload_shape(3)\nscores.recall_at["5"]\nscores.mapp\n'
    )
    # in the repository and with its settings, so that what `make check` knows of torch need not be found out again
    files = [tmp_path / "right.py", tmp_path / "wrong.py"]
    done = run([sys.executable, "-m", "mypy", *files], ROOT, MYPYPATH=str(ROOT / "src"))
    told = re.findall(r"(right|wrong)\.py:(\d+): error", done.stdout)
    first = SNIPPET.count("\n") + 1
    assert told == [("wrong", str(first + k)) for k in range(5)], done.stdout + done.stderr
