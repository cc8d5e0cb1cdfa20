"""Networks of Hugging Face from tiny local folders: features, stems, weights, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from batchot.models import MVCNN, BackboneError, make_backbone
from batchot.models.hubs import adapt_stem

transformers = pytest.importorskip("transformers", reason="the extra `shapes` is not installed")

SIZE = 64
LENGTH = {"resnet": 16, "convnext": 16, "vit": 8, "dinov2": 8, "swin": 16}


def config(kind: str, channels: int = 3) -> Any:
    convolutions = {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1], "num_channels": channels}
    tokens = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "num_channels": channels,
    }
    if kind == "resnet":
        return transformers.ResNetConfig(embedding_size=8, layer_type="basic", **convolutions)
    if kind == "convnext":
        return transformers.ConvNextConfig(**convolutions)
    if kind == "vit":
        return transformers.ViTConfig(intermediate_size=16, **tokens)
    if kind == "dinov2":
        return transformers.Dinov2Config(mlp_ratio=2, **tokens)
    return transformers.SwinConfig(
        embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2, image_size=32, num_channels=channels
    )


def save(kind: str, folder: Path, channels: int = 3, seed: int = 0) -> Any:
    """A tiny network with weights in a folder."""
    torch.manual_seed(seed)
    model = transformers.AutoModel.from_config(config(kind, channels))
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    return model.eval()


kinds = pytest.mark.parametrize("kind", sorted(LENGTH))


@kinds
def test_untrained_from_settings(kind: str, tmp_path: Path) -> None:
    config(kind).save_pretrained(tmp_path)
    torch.manual_seed(0)
    network = make_backbone(str(tmp_path), in_channels=1, image_size=SIZE)
    assert network.training and network.model.training
    features = network(torch.rand(3, 1, SIZE, SIZE))
    assert features.shape == (3, LENGTH[kind]) == (3, network.out_features)
    torch.manual_seed(0)
    again = make_backbone(str(tmp_path), in_channels=1, image_size=SIZE)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), again.parameters(), strict=True))


@kinds
def test_every_weight_that_wants_a_gradient_gets_one(kind: str, tmp_path: Path) -> None:
    config(kind).save_pretrained(tmp_path)
    torch.manual_seed(0)
    network = MVCNN(make_backbone(str(tmp_path), in_channels=1, image_size=SIZE), "mean")
    (network(torch.rand(4, 2, 1, SIZE, SIZE)) * torch.randn(4, LENGTH[kind])).sum().backward()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@kinds
def test_pretrained_on_colours_for_colours(kind: str, tmp_path: Path) -> None:
    model = save(kind, tmp_path)
    network = make_backbone(str(tmp_path), in_channels=3, image_size=32, pretrained="hub").eval()
    saved = dict(model.named_parameters())
    for name, parameter in network.model.named_parameters():
        assert torch.equal(parameter, saved[name]), name
    x = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        output = model((x - mean) / std)
        expected = output.last_hidden_state[:, 0] if kind == "vit" else output.pooler_output.flatten(1)
        torch.testing.assert_close(network(x), expected)


@kinds
def test_pretrained_on_colours_for_grey(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.3, 0.3, 0.3], "image_std": [0.2, 0.2, 0.2]})
    )
    colours = make_backbone(str(tmp_path), in_channels=3, image_size=SIZE, pretrained="hub").eval()
    grey = make_backbone("vit", in_channels=1, image_size=SIZE, pretrained=tmp_path).eval()
    x = torch.rand(2, 1, SIZE, SIZE)
    assert grey.model.config.num_channels == 1
    torch.testing.assert_close(grey(x), colours(x.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


@kinds
def test_trained_state_fits_a_network_without_weights(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    trained = make_backbone(str(tmp_path), in_channels=2, image_size=SIZE, pretrained="hub")
    fresh = make_backbone(str(tmp_path), in_channels=2, image_size=SIZE)
    x = torch.rand(2, 2, SIZE, SIZE)
    assert not torch.allclose(fresh.eval()(x), trained.eval()(x))
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh(x), trained(x))


def test_pretrained_on_grey_stays_as_it_was(tmp_path: Path) -> None:
    model = save("resnet", tmp_path, channels=1)
    network = make_backbone(str(tmp_path), in_channels=1, image_size=SIZE, pretrained="hub").eval()
    x = torch.rand(2, 1, SIZE, SIZE)
    torch.testing.assert_close(network(x), model(x).pooler_output.flatten(1))


def test_saved_in_half_precision_is_trained_in_single(tmp_path: Path) -> None:
    transformers.AutoModel.from_config(config("resnet")).half().save_pretrained(tmp_path)
    network = make_backbone(str(tmp_path), in_channels=3, image_size=SIZE, pretrained="hub")
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_weights_of_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = transformers.ResNetForImageClassification(config("resnet"))
    classifier.save_pretrained(tmp_path)
    network = make_backbone(str(tmp_path), in_channels=3, image_size=SIZE, pretrained="hub")
    saved = dict(classifier.resnet.named_parameters())
    assert all(torch.equal(p, saved[n]) for n, p in network.model.named_parameters())


def test_architecture_by_its_name() -> None:
    network = make_backbone("mobilenet_v1", in_channels=1, image_size=SIZE)
    assert network(torch.rand(2, 1, SIZE, SIZE)).shape == (2, network.out_features)
    with pytest.raises(BackboneError, match="convnext: is an architecture and has no weights of its own"):
        make_backbone("convnext", image_size=SIZE, pretrained="hub")


def test_adapted_stem_by_loops() -> None:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 2, 2))
    before = stem[0].weight.tolist()
    adapt_stem(stem, old=3, new=4)
    for o in range(2):
        for j in range(4):
            for a in range(2):
                for b in range(2):
                    expected = sum(before[o][i][a][b] for i in range(3)) / 4
                    assert stem[0].weight[o, j, a, b].item() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(BackboneError, match="no first convolution on 3 channels"):
        adapt_stem(nn.Linear(3, 2), old=3, new=1)


def test_images_smaller_than_the_stride(tmp_path: Path) -> None:
    config("resnet").save_pretrained(tmp_path)
    make_backbone(str(tmp_path), image_size=32)
    with pytest.raises(BackboneError, match="images of 16 x 16 are smaller than its stride of 32 pixels"):
        make_backbone(str(tmp_path), image_size=16)
    config("vit").save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="cannot take images of 8 x 8"):
        make_backbone(str(tmp_path), image_size=8)


@pytest.mark.parametrize("shape", [(2, 3, SIZE, SIZE), (2, 1, SIZE, 32), (1, SIZE, SIZE)])
def test_wrong_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    config("resnet").save_pretrained(tmp_path)
    with pytest.raises(ValueError) as error:
        make_backbone(str(tmp_path), in_channels=1, image_size=SIZE)(torch.zeros(shape))
    assert str(error.value) == f"expected images of shape (n, 1, 64, 64), got {shape}"


def test_name_that_is_neither_cached_nor_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for pretrained in (None, "hub"):
        with pytest.raises(BackboneError) as error:
            make_backbone("nobody/no-such-network", image_size=SIZE, pretrained=pretrained)
        message = str(error.value)
        assert message.startswith("nobody/no-such-network: no folder, not whole in the")
        assert "path of a folder with its config.json and model.safetensors" in message
        assert "HF_HOME" in message


def test_mistyped_name_does_not_go_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(BackboneError, match=r"resnt18-w16: no such network; expected resnet18-w16"):
        make_backbone("resnt18-w16")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"no folder with a config\.json"):
        make_backbone(str(tmp_path))
    with pytest.raises(BackboneError, match=r"models/gone: no such folder"):
        make_backbone("vit", pretrained="models/gone")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BackboneError, match=f"{tmp_path}: cannot be loaded"):
        make_backbone(str(tmp_path))
    config("resnet").save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"cannot be loaded \(.*safetensors"):
        make_backbone(str(tmp_path), pretrained="hub")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense" * 9)
    with pytest.raises(BackboneError, match=f"{tmp_path}: cannot be loaded"):
        make_backbone(str(tmp_path), pretrained="hub")


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    config("resnet").save_pretrained(tmp_path)
    torch.save({"a": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        make_backbone(str(tmp_path), pretrained="hub")
    assert not (tmp_path / "sprung").exists()


def test_code_of_others_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "trap", "auto_map": {"AutoConfig": "trap.C", "AutoModel": "trap.M"}})
    )
    with pytest.raises(BackboneError, match="cannot be loaded"):
        make_backbone(str(tmp_path), pretrained="hub")
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_network(tmp_path: Path) -> None:
    save("convnext", tmp_path)
    config("resnet").save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"the weights are not those of ResNetModel: .* missing"):
        make_backbone(str(tmp_path), in_channels=3, image_size=SIZE, pretrained="hub")


def test_networks_that_take_no_images(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="bert: BertConfig is no image network"):
        make_backbone("bert")


def test_damaged_statistics_of_the_images(tmp_path: Path) -> None:
    save("resnet", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": "white"}')
    with pytest.raises(
        BackboneError, match=r"preprocessor_config\.json: image_mean and image_std cannot be read"
    ):
        make_backbone(str(tmp_path), image_size=SIZE, pretrained="hub")
