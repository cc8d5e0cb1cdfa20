"""Augmentation against loops over single images, and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from batchot.data import Augmentation, Normalization, load_digits
from batchot.data.augment.images import cutout, flip_and_shift


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(n: int = 40, c: int = 3, h: int = 9, w: int = 7) -> Tensor:
    return torch.randint(1, 256, (n, c, h, w), dtype=torch.uint8, generator=generator(1))


def all_shifts(image: Tensor, m: int, padding: str) -> dict[tuple[int, int, bool], Tensor]:
    """Every result that one image may have, by padding and cropping."""
    padded = F.pad(image[None].float(), (m, m, m, m), mode="reflect" if padding == "reflect" else "constant")[
        0
    ]
    h, w = image.shape[1:]
    crops = {
        (u, v): padded[:, m + u : m + u + h, m + v : m + v + w]
        for u in range(-m, m + 1)
        for v in range(-m, m + 1)
    }
    return {
        (u, v, flipped): crop.flip(-1) if flipped else crop
        for (u, v), crop in crops.items()
        for flipped in (False, True)
    }


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("max_shift", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shift_and_flip_are_a_crop_of_the_padded_image(padding, max_shift: int, dtype: torch.dtype) -> None:
    images = random_images().to(dtype)
    changed = flip_and_shift(images, generator(), flip=True, max_shift=max_shift, padding=padding)
    assert changed.dtype == dtype
    found = set()
    for image, after in zip(images, changed, strict=True):
        fits = [
            key
            for key, crop in all_shifts(image, max_shift, padding).items()
            if torch.equal(crop, after.float())
        ]
        assert fits, "no shift and flip of the image gives what came out"
        found.add(fits[0])
    assert len(found) > 10  # each image has its own
    assert {flipped for _, _, flipped in found} == {False, True}


def test_shifts_are_uniform() -> None:
    column = torch.arange(5).view(1, 1, 5, 1).expand(6000, 1, 5, 5)
    first = flip_and_shift(column, generator(), max_shift=2, padding="reflect")[:, 0, 2, 2]
    shares = first.bincount(minlength=5) / len(first)
    assert (shares - 0.2).abs().max() < 0.03


def test_flip_alone_mirrors_half_of_the_images() -> None:
    images = random_images(2000)
    changed = flip_and_shift(images, generator(), flip=True)
    flipped = (changed == images.flip(-1)).flatten(1).all(1)
    same = (changed == images).flatten(1).all(1)
    assert (flipped ^ same).all()
    assert 0.45 < flipped.float().mean() < 0.55


def test_vertical_and_horizontal_are_not_mixed_up() -> None:
    image = torch.zeros(1, 1, 9, 3, dtype=torch.uint8)
    image[..., 1] = 1  # a vertical line: a vertical shift leaves it alone
    changed = flip_and_shift(image.expand(200, -1, -1, -1), generator(), max_shift=1, padding="zeros")
    assert (changed[:, 0, 1:-1].float().std(1) == 0).all()


def test_images_are_not_changed_in_place() -> None:
    images = random_images()
    before = images.clone()
    Augmentation(flip=True, max_shift=2, padding="zeros", cutout=3)(images, generator())
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cutout_paints_one_square(size: int, dtype: torch.dtype) -> None:
    images = random_images(300).to(dtype)
    fill = torch.tensor([0, 128, 0])
    painted = cutout(images, generator(), size=size, fill=fill)
    assert painted.dtype == dtype
    centres = set()
    for before, after in zip(images, painted, strict=True):
        changed = (before != after).any(0)
        rows, columns = torch.where(changed)
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        assert changed[top : bottom + 1, left : right + 1].all()
        assert bottom - top < size
        assert right - left < size
        assert (fill == after[:, changed].T).all()
        centres.add((int(top), int(left)))
        if top > 0 and bottom < 8 and left > 0 and right < 6:
            assert changed.sum() == size**2
    assert len(centres) > 15


def test_nothing_asked_for_nothing_done() -> None:
    images = random_images()
    assert Augmentation()(images, generator()) is images
    assert torch.equal(cutout(images, generator(), size=0), images)
    assert torch.equal(flip_and_shift(images, generator()), images)


def test_same_generator_same_images() -> None:
    augmentation = Augmentation(flip=True, max_shift=2, cutout=3)
    first, second, other = (augmentation(random_images(), generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_shift": -1}, "at least 0, got -1 and 0"),
        ({"cutout": -2}, "at least 0, got 0 and -2"),
        ({"padding": "wrap"}, "padding must be one of reflect, zeros, got 'wrap'"),
    ],
)
def test_settings_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def test_normalization_of_the_images_it_was_made_from() -> None:
    train = load_digits().train
    normalization = Normalization.from_pixels(train.images)
    x = normalization(train.images).double()
    assert x.mean().item() == pytest.approx(0, abs=1e-6)
    assert x.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_normalization_by_channel_against_numpy() -> None:
    pixels = random_images(2500, 3, 4, 5) // torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1)
    normalization = Normalization.from_pixels(pixels)
    values = pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(normalization.mean, values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(normalization.std, values.std((0, 2, 3)), rtol=1e-12)
    x = normalization(pixels)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-5)
    assert normalization.fill.tolist() == [round(255 * mean) for mean in normalization.mean]


def test_constant_channel_is_only_centred() -> None:
    pixels = torch.full((4, 1, 2, 2), 77, dtype=torch.uint8)
    normalization = Normalization.from_pixels(pixels)
    assert normalization.std == (1.0,)
    assert normalization(pixels).abs().max() < 1e-6


def test_normalization_refused() -> None:
    for mean, std in (((0.5,), (0.0,)), ((0.5,), (-1.0,)), ((0.5, 0.5), (1.0,)), ((0.5,), (float("nan"),))):
        with pytest.raises(ValueError, match=r"one number a channel and std be positive"):
            Normalization(mean, std)
    with pytest.raises(ValueError, match=r"for 1 channels, got images of \(40, 3, 9, 7\)"):
        Normalization((0.5,), (1.0,))(random_images())
