"""Networks, losses and data sets of one's own, named in a recipe as module:name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import batchot
from batchot.errors import RunError
from batchot.models import BackboneError
from batchot.training import RecipeError, load_recipe, load_run, train

MINE = """
import torch
from torch import nn
from batchot.data import Images, Splits


def make(in_channels, image_size):
    network = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, 12))
    network.out_features = 12
    return network


def no_features(in_channels, image_size):
    return nn.Identity()


def one_argument(channels):
    return nn.Identity()


class Pull(nn.Module):
    def __init__(self, num_classes, weight=1.0, *, power=2.0):
        super().__init__()
        self.num_classes, self.weight, self.power = num_classes, weight, power

    def forward(self, embeddings, labels, ref_emb=None, ref_labels=None):
        return self.weight * torch.cdist(embeddings, embeddings)[labels[:, None] == labels].pow(self.power).mean()


def stripes(data_root):
    lying = torch.zeros(1, 8, 8, dtype=torch.uint8)
    lying[:, ::2] = 255
    whole = Images(torch.stack([lying, lying.mT] * 8), torch.tensor([0, 1] * 8), ("lying", "standing"))
    return Splits("stripes", whole, whole)


def numbers():
    return 3


answer = 42
"""
OWN = [
    ("data.name", "mine.parts:stripes"),
    ("loss.name", "mine.parts:Pull"),
    ("loss.options.weight", "0.5"),
    ("model.name", "cnn"),
    ("model.backbone", "mine.parts:make"),
    ("model.widths", "[8,4]"),
    ("batch.size", "8"),
    ("epochs", "1"),
]


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "packages" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(MINE)
    (package / "broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(package.parent))
    yield package.parent
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_run_of_nothing_but_ones_own(tmp_path: Path, mine: Path) -> None:
    out = tmp_path / "run"
    train(load_recipe("digits", OWN), out, device="cpu")
    embedder = load_run(out)
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    expected = embedder(images)
    assert expected.shape == (3, 4) and embedder.classes == ("lying", "standing")

    del sys.modules["mine.parts"]
    with pytest.raises(
        RunError,
        match=r"model.backbone: mine.parts:make: mine.parts is not imported; if you trust it, import mine.parts first",
    ):
        load_run(out)
    code = f"import mine.parts, batchot; batchot.load_run({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=mine, timeout=120)


def test_a_run_that_names_code_does_not_import_it(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"mine\.broken is not imported"):
        batchot.make_backbone("mine.broken:make")
    assert "mine.broken" not in sys.modules


@pytest.mark.parametrize(
    ("setting", "name", "message"),
    [
        ("data.name", "absent:load", r"data.name: absent:load: absent cannot be imported .*PYTHONPATH"),
        ("data.name", "mine.broken:load", r"data.name: .* cannot be imported \(ZeroDivisionError"),
        ("data.name", "mine.parts:lod", r"data.name: .* mine.parts has no 'lod'"),
        (
            "data.name",
            "mine.parts:numbers",
            r"must return batchot.data.Splits of batchot.data.Images, not int",
        ),
        ("loss.name", "mine.parts:answer", r"loss.name: .* has, but cannot call, 'answer'"),
        ("loss.name", "mine.parts:numbers", r"loss.name: .* must give a torch.nn.Module, not int"),
        ("loss.options.wieght", "1", r"unknown option 'wieght' .* did you mean weight"),
        ("model.backbone", "mine.parts:no_features", r"model.backbone: .* attribute out_features"),
        (
            "model.backbone",
            "mine.parts:one_argument",
            r"callable as one_argument\(in_channels=.., image_size=..\)",
        ),
    ],
)
def test_errors_come_before_the_work(tmp_path: Path, setting: str, name: str, message: str) -> None:
    changed = [(s, v) for s, v in OWN if s != setting]
    if setting != "loss.name" or name != "mine.parts:Pull":
        changed = [(s, v) for s, v in changed if not (setting == "loss.name" and s == "loss.options.weight")]
    with pytest.raises(RecipeError, match=message):
        train(load_recipe("digits", [*changed, (setting, name)]), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("name", ["mnits", ":load", "mine.parts:a.b", "../mine:load"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(RecipeError, match="or module:name of your own"):
        load_recipe("digits", [("data.name", name)])


def test_keyword_options_and_how_embeddings_are_compared() -> None:
    import mine.parts  # type: ignore[import-not-found]

    from batchot.training.losses import make_loss, normalizes
    from batchot.training.recipe import LossSettings

    made = make_loss(LossSettings(name="mine.parts:Pull", options={"power": 1.0}), 7, 4)
    assert isinstance(made, mine.parts.Pull) and made.num_classes == 7 and made.power == 1.0
    assert not normalizes(made)
    made.normalizes = True
    assert normalizes(made)


def test_backbones_are_listed() -> None:
    names = batchot.list_backbones()
    assert {"alexnet", "efficientnet-lite0", "resnet18-w16"} <= set(names)
    for name in names:
        if not name.startswith("timm/"):
            assert batchot.make_backbone(name, in_channels=1, image_size=64).out_features > 0
    assert batchot.list_backbones("alex*", pretrained=True) == []
