from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from batchot.shapes import Mesh, ShapeError
from batchot.shapes.library import CLASS_NAMES, GENERATOR_VERSION, generate_shape

SEEDS = range(10)


def digest(mesh: Mesh) -> str:
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_shapes_are_sound(name: str) -> None:
    for seed in SEEDS:
        mesh = generate_shape(name, seed)
        assert np.isfinite(mesh.vertices).all()
        assert 20 <= len(mesh.faces) <= 10_000
        a, b, c = (mesh.vertices[column] for column in mesh.faces.T)
        areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        assert (areas > 0).mean() > 0.9
        extent = np.ptp(mesh.vertices[mesh.faces].reshape(-1, 3), axis=0)
        assert 0.05 < extent.max() < 20
        assert extent.min() > 0.01 * extent.max()
        assert mesh.vertices[:, 2].min() == 0


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_no_two_seeds_give_the_same_shape(name: str) -> None:
    assert len({digest(generate_shape(name, seed)) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_shapes_of_a_class_differ_in_make_not_only_in_size(name: str) -> None:
    """Numbers of faces tell kinds of legs, backs, wings and so on apart."""
    assert len({len(generate_shape(name, seed).faces) for seed in range(20)}) >= 6


def test_another_process_makes_the_same_shapes() -> None:
    # Another seed of Python's hashes and other numbers drawn before must not matter.
    code = (
        "import hashlib, random, numpy as np\n"
        "from batchot.shapes.library import CLASS_NAMES, generate_shape\n"
        "random.seed(1); np.random.seed(1)\n"
        "for name in CLASS_NAMES:\n"
        "    mesh = generate_shape(name, 3)\n"
        "    print(hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest())\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.split() == [digest(generate_shape(name, 3)) for name in CLASS_NAMES]


def test_shapes_are_those_of_this_version_of_the_generator() -> None:
    """The same on every machine; whoever changes shapes raises ``GENERATOR_VERSION`` and this digest."""
    digests = "".join(digest(generate_shape(name, seed)) for name in CLASS_NAMES for seed in (0, 1))
    assert (GENERATOR_VERSION, hashlib.sha256(digests.encode()).hexdigest()[:16]) == (1, "4db23521467055ff")


def test_global_random_numbers_are_left_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    generate_shape("vase", 0)
    assert np.random.random() == expected  # noqa: NPY002


def test_unknown_class_names_the_nearest() -> None:
    with pytest.raises(ShapeError, match="no class 'chiar'; did you mean 'chair'"):
        generate_shape("chiar", 0)
    with pytest.raises(ShapeError, match="did you mean 'floor_lamp'"):
        generate_shape("Floor Lamp", 0)


def test_most_shapes_have_outward_faces_and_some_do_not() -> None:
    """A bowl's volume is positive unless it was turned inside out on purpose."""
    volumes = []
    for seed in range(60):
        mesh = generate_shape("bowl", seed)
        a, b, c = (mesh.vertices[column] for column in mesh.faces.T)
        volumes.append(float((np.cross(a, b) * c).sum()))
    turned = sum(volume < 0 for volume in volumes)
    assert 0 < turned < 25
