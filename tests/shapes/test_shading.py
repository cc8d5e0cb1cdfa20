from __future__ import annotations

import numpy as np
import pytest

from batchot.shapes.render.shading import (
    depth_pixels,
    pack_normal,
    shaded_pixels,
    silhouette_pixels,
    unpack_normal,
    upper_half,
)


def test_normals_survive_packing() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:3] = [[1, 0, 0], [0, -1, 0], [0, 0, 1]]
    for n in normals:
        code = pack_normal(*n)
        assert 0 <= code < 2**32
        found = np.array(unpack_normal(np.uint64(code)))
        np.testing.assert_allclose(found[:2], n[:2], atol=4e-5)
        assert n @ found / np.linalg.norm(found) > np.cos(0.02)


def test_grey_does_not_spoil_a_normal() -> None:
    code = (np.uint64(200) << np.uint64(32)) | np.uint64(pack_normal(0.6, 0.0, -0.8))
    np.testing.assert_allclose(unpack_normal(code), [0.6, 0.0, -0.8], atol=1e-4)


@pytest.mark.parametrize("antialias", [1, 2, 3])
def test_pixels_are_means_of_samples(antialias: int) -> None:
    size = 7
    rng = np.random.default_rng(antialias)
    level = rng.integers(0, 3, (size * antialias,) * 2).astype(np.uint32) * 2**20
    grey = np.where(level > 0, rng.integers(1, 256, level.shape), 255).astype(np.uint32)
    buffer = (level << 8 | grey).ravel()
    pixels = np.empty((size, size), np.uint8)
    blocks = (size, antialias, size, antialias)
    shaded_pixels(buffer, antialias, pixels)
    np.testing.assert_allclose(pixels, grey.reshape(blocks).mean(axis=(1, 3)), atol=0.5)
    silhouette_pixels(buffer, antialias, pixels)
    np.testing.assert_allclose(pixels, 255 * (level > 0).reshape(blocks).mean(axis=(1, 3)), atol=0.5)
    depth_pixels(buffer, antialias, -1.0, 1.0, np.inf, pixels)
    nearest = level.reshape(blocks).max(axis=(1, 3)).astype(float)
    z = -1 + 2 * (nearest - 1) / (2**24 - 4)
    np.testing.assert_array_equal(
        pixels, np.where(nearest > 0, np.clip(128.5 + 127 * z, 1, 255).astype(np.uint8), 0)
    )


def test_upper_half() -> None:
    half = np.empty(2, np.uint32)
    upper_half(np.array([0x12345678_9ABCDEF0, 255 << 32], np.uint64), half)
    assert half.tolist() == [0x12345678, 255]
