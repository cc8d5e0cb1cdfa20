"""Image networks by name: ours, Hugging Face's, timm's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from batchot.errors import MissingExtraError
from batchot.models import AlexNet, BackboneError, make_backbone


@pytest.mark.parametrize(
    ("name", "size", "length", "stride"),
    [("resnet10-w4", 32, 32, 8), ("resnet18-w6", 8, 48, 8), ("resnet34-w2-s2", 16, 16, 16)],
)
def test_ours(name: str, size: int, length: int, stride: int) -> None:
    network = make_backbone(name, in_channels=2, image_size=size)
    assert network(torch.randn(2, 2, size, size)).shape == (2, length) == (2, network.out_features)
    assert network.stride == stride
    with pytest.raises(
        ValueError, match=f"{name} needs images of at least {stride} x {stride}, got {stride - 1}"
    ):
        make_backbone(name, in_channels=2, image_size=stride - 1)


def test_same_seed_same_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(make_backbone("resnet10-w4", image_size=32).parameters())

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_ours_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trained = make_backbone("resnet10-w4", image_size=32)
    trained(torch.rand(4, 1, 32, 32))  # moves the running statistics
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    network = make_backbone("resnet10-w4", image_size=32, pretrained=tmp_path / "w.safetensors")
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(network.eval()(x), trained.eval()(x))
    with pytest.raises(
        BackboneError, match=r"w\.safetensors: weights of another network than ResNet .* and not"
    ):
        make_backbone("resnet10-w8", image_size=32, pretrained=tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=r"no blocks\.\d\.residual\S+; .* and \d+ more"):
        make_backbone("resnet18-w4", image_size=32, pretrained=tmp_path / "w.safetensors")


def test_alexnet_takes_the_weights_of_the_whole_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    whole = AlexNet(3)
    whole.classifier = nn.Linear(2, 3)
    save_file(whole.state_dict(), tmp_path / "a.safetensors")
    network = make_backbone("alexnet", in_channels=3, pretrained=tmp_path / "a.safetensors")
    assert torch.equal(network.features[10].weight, whole.features[10].weight)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    pickled, damaged = tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save({}, pickled)
    damaged.write_bytes(b"\x40\0\0\0\0\0\0\0{")
    with pytest.raises(BackboneError, match=r"w\.pth: only \.safetensors files are read; convert it"):
        make_backbone("resnet10-w4", image_size=32, pretrained=pickled)
    with pytest.raises(BackboneError, match=r"w\.safetensors: cannot be read as safetensors"):
        make_backbone("resnet10-w4", image_size=32, pretrained=damaged)
    with pytest.raises(BackboneError, match=r"gone\.safetensors: no such file"):
        make_backbone("resnet10-w4", image_size=32, pretrained=tmp_path / "gone.safetensors")
    with pytest.raises(BackboneError, match="resnet10-w4: there are no published weights"):
        make_backbone("resnet10-w4", image_size=32, pretrained="hub")


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 224"):
        make_backbone("resnet10-w4", in_channels=0)
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        make_backbone("resnet10-w0", image_size=32)


class TinyTimm(nn.Module):
    """What timm gives: a network without classifier, and beside it what it was trained with."""

    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}  # noqa: RUF012

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A package timm with one network; what it was asked for."""
    asked: list[tuple[object, ...]] = []

    def create_model(name: str, pretrained: bool, in_chans: int, num_classes: int) -> nn.Module:
        asked.append((name, pretrained, in_chans, num_classes))
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        torch.manual_seed(0)
        return TinyTimm(in_chans)

    package = ModuleType("timm")
    package.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", package)
    return asked


def test_timm(timm: list[tuple[object, ...]]) -> None:
    plain = make_backbone("timm/tiny", in_channels=1, image_size=8)
    trained = make_backbone("timm/tiny", in_channels=1, image_size=8, pretrained="hub")
    assert timm == [("tiny", False, 1, 0), ("tiny", True, 1, 0)]
    assert plain.out_features == trained.out_features == 4
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(trained(x), plain((x - 0.5) / 0.25))
    plain.load_state_dict(trained.state_dict())
    torch.testing.assert_close(plain(x), trained(x))
    with pytest.raises(BackboneError, match=r"timm/huge: timm cannot make it \(Unknown model \(huge\)\)"):
        make_backbone("timm/huge")
    with pytest.raises(ValueError, match=r"\(n, 1, 8, 8\), got \(2, 1, 9, 9\)"):
        plain(torch.zeros(2, 1, 9, 9))


def test_timm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'batchot\[timm\]'"):
        make_backbone("timm/resnet18")
