"""From the settings of a run, as its config.yaml has them, to what its network is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from batchot.towers.spec import ONLY, EmbedderSpec, Projection, TowerSpec

SKETCH_SETS = ("sketches", "quickdraw", "line-drawings", "shrec13-sketches", "shrec14-sketches")
SKETCH_SIDE = 64
"""Height and width of drawings where nothing is said, pixels."""


class Samples(NamedTuple):
    """What the training data of a tower says of its network."""

    shape: tuple[int, ...]  # of a sample as the network gets it
    mean: tuple[float, ...]  # of the pixels, by channel; empty for clouds
    std: tuple[float, ...]


def describe(
    settings: Mapping[str, Any], classes: tuple[str, ...], normalized: bool, samples: Mapping[str, Samples]
) -> EmbedderSpec:
    """Say what the network of a run is; settings that an older run does not have are as they were then."""
    loss, together = settings["loss"], settings.get("together", {})
    named = settings.get("towers", {ONLY: settings})
    towers = {name: _tower({**settings, **own}, samples[name]) for name, own in named.items()}
    return EmbedderSpec(
        classes=classes,
        dimensions=next(iter(towers.values())).widths[-1],
        normalized=normalized,
        head=loss.get("head", "linear") if loss["cross_entropy_weight"] > 0 else None,
        head_scale=loss.get("head_scale", 10.0),
        towers=towers,
        share=together.get("share", "none"),
        separate_norm=together.get("norm", "separate") == "separate",
    )


def _tower(settings: Mapping[str, Any], samples: Samples) -> TowerSpec:
    data, model, shapes = settings["data"], settings["model"], settings.get("shapes", {})
    network = model["name"]
    of_shapes, rendered = network not in ("lenet", "cnn"), False
    order, projection, seen = None, None, None
    if network == "mvcnn":
        from batchot.shapes.render.cameras import make_cameras, mirror_order

        rendered = shapes["views"] == "rendered"
        order = mirror_order(make_cameras(shapes["cameras"]).rotations)
        if not rendered:
            projection = Projection(shapes["cameras"], shapes["size"], shapes["radius"], shapes["margin"])
    if of_shapes:
        seen = _views(shapes) if rendered else _cloud(shapes)
    elif data["name"] in SKETCH_SETS:
        seen = {"size": data.get("image_size") or SKETCH_SIDE}
    cloud = of_shapes and not rendered
    return TowerSpec(
        takes="cloud" if cloud else "views" if of_shapes else "image",
        input_shape=(shapes["points"], 3) if cloud else samples.shape,
        network=network,
        widths=tuple(model["widths"]),
        activation=model["activation"],
        batch_norm=model["batch_norm"],
        channels=tuple(model["channels"]),
        backbone=model["backbone"],
        backbone_config=None,
        pooling=model["pooling"],
        mean=samples.mean,
        std=samples.std,
        projection=projection,
        flip=settings["evaluation"].get("flip", False),
        mirror_order=order,
        channels_apart=model.get("channels_apart", False),
        dropout=model.get("dropout", 0.0),
        channels_last=settings.get("channels_last", False),
        seen=seen,
        data=data["name"],
    )


def _views(shapes: Mapping[str, Any]) -> dict[str, Any]:
    from batchot.shapes.views.settings import ViewSettings
    from batchot.towers.inputs import Inputs, ViewsInput

    names = ("cameras", "size", "antialias", "up")
    given = {name: shapes[name] for name in names if name in shapes}
    settings = ViewSettings(**given, channels=tuple(shapes["channels"]))
    return dict(Inputs(ViewsInput(settings)).to_json()["shape"])


def _cloud(shapes: Mapping[str, Any]) -> dict[str, Any]:
    from batchot.data.cloud_reading import CloudSettings
    from batchot.towers.inputs import CloudInput, Inputs

    return dict(Inputs(CloudInput(CloudSettings(shapes["points"], too_few="repeat"))).to_json()["shape"])
