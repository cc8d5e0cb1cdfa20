"""Settings know when pixels may differ."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from batchot.shapes.render.cameras import Cameras, cameras_from_eyes, make_cameras
from batchot.shapes.views import settings as view_settings
from batchot.shapes.views.settings import ViewSettings

BASE = ViewSettings(size=32)


@pytest.mark.parametrize(
    "change",
    [
        {"cameras": "box-6"},
        {"cameras": "dodecahedron-20"},
        {"cameras": cameras_from_eyes([[1, 0, 0]])},
        {"size": 33},
        {"channels": ("depth",)},
        {"channels": ("shaded", "depth")},
        {"antialias": 1},
        {"background": 254},
        {"up": "y"},
    ],
)
def test_the_digest_tells_settings_apart(change: dict) -> None:
    assert replace(BASE, **change).digest != BASE.digest
    assert replace(BASE, **change).digest == replace(BASE, **change).digest


def test_the_order_of_channels_and_the_version_of_the_renderer_count(monkeypatch: pytest.MonkeyPatch) -> None:
    two, swapped = (
        replace(BASE, channels=channels) for channels in (("shaded", "depth"), ("depth", "shaded"))
    )
    assert two.digest != swapped.digest
    monkeypatch.setattr(view_settings, "RENDERER_VERSION", view_settings.RENDERER_VERSION + 1)
    assert ViewSettings(size=32).digest != BASE.digest


def test_cameras_count_by_what_they_see_not_by_their_name() -> None:
    circle = make_cameras("circle-12")
    noise = circle.rotations * (1 + 1e-15)  # as another machine's sine may give
    assert replace(BASE, cameras=Cameras("mine", noise, circle.distance, circle.extent)).digest == BASE.digest
    for distance, extent in ((4.0, circle.extent), (math.inf, circle.extent), (circle.distance, 1.5)):
        assert (
            replace(BASE, cameras=Cameras("mine", circle.rotations, distance, extent)).digest != BASE.digest
        )


def test_settings_travel_to_other_processes() -> None:
    settings = ViewSettings(cameras=cameras_from_eyes([[1, 2, 3]]), channels=("depth", "lines"), size=16)
    copy = pickle.loads(pickle.dumps(settings))
    assert copy.digest == settings.digest and copy.view_shape == (1, 2, 16, 16)
    np.testing.assert_array_equal(copy.placed.rotations, settings.placed.rotations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": "circle-13"}, "circle-13"),
        ({"size": 0}, "size"),
        ({"antialias": 0}, "antialias"),
        ({"size": 3000, "antialias": 2}, "at most"),
        ({"background": 256}, "256"),
        ({"channels": ()}, "one or more"),
        ({"channels": ("depth", "depth")}, "each once"),
        ({"channels": ("colour",)}, "colour"),
        ({"up": "x"}, "'x'"),
    ],
)
def test_impossible_settings_are_refused_before_any_shape_is_read(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(BASE, **change)
