"""The losses that a recipe can name: a table from name to factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import nn

from batchot.losses import BatchOTLoss, BatchOTSettings
from batchot.named import is_own, own
from batchot.training.recipe import LossName, LossSettings, RecipeError
from batchot.training.settings import suggestion

LossFactory = Callable[[LossSettings, int, int], nn.Module]


def _batch_ot(settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    made = batch_ot_settings(settings)
    if settings.anchors == 0:
        return BatchOTLoss.from_settings(made)
    return BatchOTLoss.from_settings(
        made, num_classes=n_classes, embedding_size=embedding_dim, anchor_weight=settings.anchors
    )


def batch_ot_settings(settings: LossSettings) -> BatchOTSettings:
    """Give the options of the transport loss, or of its uniform plan, that a recipe names."""
    return BatchOTSettings(
        margin=settings.margin,
        pos_margin=settings.pos_margin,
        gamma=settings.gamma,
        lam=settings.lam,
        normalize=settings.normalize,
        plan="uniform" if settings.name == "uniform" else "transport",
        grad=settings.grad,
        distance_power=settings.distance_power,
        power=settings.power,
    )


def _library_class(class_name: str) -> Any:
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise RecipeError(
            f"{class_name} needs pytorch-metric-learning, which is missing: pip install 'batchot[compare]'"
        ) from error
    return getattr(losses, class_name)


def _parameters(made: Any) -> list[str]:
    """Names of the arguments of a class, and of the loss it is derived from where it hands arguments on to it."""
    given = inspect.signature(made).parameters.values()
    names = [
        p.name for p in given if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    ]
    kinds = {p.kind for p in given}
    # mat_based_loss of GenericPairLoss is a function that the derived loss gives itself
    parents = [
        p
        for p in getattr(made, "__bases__", ())
        if p.__name__.endswith("Loss") and p.__name__ != "GenericPairLoss"
    ]
    if parents and kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        names += [name for parent in parents for name in _parameters(parent) if name not in names]
    return names


def _library(class_name: str, settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    return _made(_library_class(class_name), settings, n_classes, embedding_dim)


def _made(made: Any, settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    names = _parameters(made)
    given = {"num_classes": n_classes, "embedding_size": embedding_dim}
    supplied = {name: value for name, value in given.items() if name in names}
    allowed = [name for name in names if name not in supplied]
    for option in settings.options:
        if option not in allowed:
            raise RecipeError(
                f"loss.options: unknown option {option!r} of loss={settings.name}"
                f"{suggestion(option, allowed)} Allowed: {', '.join(allowed) or 'none'}"
            )
    module: nn.Module = made(**supplied, **settings.options)
    return module


def _own_loss(settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    try:
        made = own(settings.name)
        module = _made(made, settings, n_classes, embedding_dim)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"loss.name: {error}") from error
    if not isinstance(module, nn.Module):
        raise RecipeError(
            f"loss.name: {settings.name} must give a torch.nn.Module, not {type(module).__name__}"
        )
    return module


LOSSES: dict[LossName, LossFactory] = {
    "batch-ot": _batch_ot,
    "uniform": _batch_ot,
    "contrastive": partial(_library, "ContrastiveLoss"),
    "triplet": partial(_library, "TripletMarginLoss"),
    # Its LiftedStructureLoss loops over pairs in Python, at batch 128 twenty times the step of the network; this is
    # the form of Hermans and others (2017), vectorised.
    "lifted": partial(_library, "GeneralizedLiftedStructureLoss"),
    "npairs": partial(_library, "NPairsLoss"),
    "multi-similarity": partial(_library, "MultiSimilarityLoss"),
    "supcon": partial(_library, "SupConLoss"),
    "proxy-anchor": partial(_library, "ProxyAnchorLoss"),
    "arcface": partial(_library, "ArcFaceLoss"),
    "circle": partial(_library, "CircleLoss"),
    "cosface": partial(_library, "CosFaceLoss"),
    "fast-ap": partial(_library, "FastAPLoss"),
    "intra-pair-variance": partial(_library, "IntraPairVarianceLoss"),
    "margin": partial(_library, "MarginLoss"),
    "nca": partial(_library, "NCALoss"),
    "normalized-softmax": partial(_library, "NormalizedSoftmaxLoss"),
    "ntxent": partial(_library, "NTXentLoss"),
    "pnp": partial(_library, "PNPLoss"),
    "proxy-nca": partial(_library, "ProxyNCALoss"),
    "signal-to-noise": partial(_library, "SignalToNoiseRatioContrastiveLoss"),
    "smooth-ap": partial(_library, "SmoothAPLoss"),
    "soft-triple": partial(_library, "SoftTripleLoss"),
    "sub-center-arcface": partial(_library, "SubCenterArcFaceLoss"),
    "threshold-consistent": partial(_library, "ThresholdConsistentMarginLoss"),
    "tuplet-margin": partial(_library, "TupletMarginLoss"),
}


def make_loss(settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    """Make the metric loss that a recipe names, called as ``loss(embeddings, labels)``."""
    if is_own(settings.name):
        return _own_loss(settings, n_classes, embedding_dim)
    return LOSSES[cast(LossName, settings.name)](settings, n_classes, embedding_dim)


def normalizes(loss: nn.Module) -> bool:
    """Say whether a loss L2-normalises the embeddings itself, so that they are to be compared by cosine."""
    if isinstance(loss, BatchOTLoss):
        return loss.settings.normalize
    if isinstance(said := getattr(loss, "normalizes", None), bool):  # a loss of one's own
        return said
    return bool(getattr(getattr(loss, "distance", None), "normalize_embeddings", False))
