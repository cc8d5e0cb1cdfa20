"""What takes part in a comparison: names, the settings that they stand for, and what of each is tuned."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import get_args

from batchot.benchmark.space import SPACES, Parameter
from batchot.losses.settings import PRESETS
from batchot.training.recipe import LossName, RecipeError
from batchot.training.settings import suggestion

# lifted and npairs trailed the others by more than ten points wherever they were tried, circle by as much on CIFAR-10
# as it comes; they can be asked for. Nine losses of three seeds on MNIST take two cores less than an hour.
DEFAULT = (
    "batch-ot:anchors=0.5",
    "batch-ot:anchors=0",
    "uniform:anchors=0",
    "contrastive",
    "triplet",
    "multi-similarity",
    "supcon",
    "proxy-anchor",
    "normalized-softmax",
)
WITH_TOWERS = tuple(name for name in DEFAULT if name != "batch-ot:anchors=0.5")  # anchors are of one network
_PRESET_SETTINGS = ("margin", "pos_margin", "gamma", "lam", "normalize", "grad", "distance_power", "power")


@dataclass(frozen=True)
class Contender:
    """A loss with settings of its own.

    Args:
        name: as it was given and is shown
        overrides: settings of the recipe that make it
        space: what is tuned, by setting
    """

    name: str
    overrides: tuple[tuple[str, str], ...]
    space: dict[str, Parameter] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is the transport loss or its uniform plan."""
        return self.name.partition(":")[0] in ("batch-ot", "uniform")

    @property
    def slug(self) -> str:
        """The name as a folder can have it."""
        return self.name.replace(":", "-").replace("=", "-").replace(",", "-").replace("/", "-")


def contender(text: str, *, joint: bool = False) -> Contender:
    """Read a contender: LOSS, LOSS:PRESET or LOSS:SETTING=VALUE,...

    Args:
        text: the name of a loss; "cross-entropy" for the classifier without a metric loss; after a colon the
            name of a preset of the transport loss, or settings, which are those of the loss where no other
            section is named. A setting that is given is not tuned.
        joint: leave the cross-entropy of the recipe beside the metric loss

    Returns:
        The contender.

    Raises:
        RecipeError: there is no such loss, preset or setting

    Example:
        >>> contender("batch-ot:lam=3").overrides
        (('loss.name', 'batch-ot'), ('loss.lam', '3'), ('loss.cross_entropy_weight', '0'))
        >>> sorted(contender("batch-ot:lam=3").space)
        ['loss.gamma', 'loss.margin', 'optim.lr']
    """
    name, _, own = text.partition(":")
    if name == "cross-entropy":
        if own:
            raise RecipeError(f"--losses: {text}: cross-entropy has no settings")
        fixed = (("loss.weight", "0"), ("loss.cross_entropy_weight", "1"))
        return Contender(text, fixed, dict(SPACES["cross-entropy"]))
    names = (*get_args(LossName), "cross-entropy")
    if name not in names:
        raise RecipeError(
            f"--losses: unknown loss {name!r}{suggestion(name, names)} There are {', '.join(names)}"
        )
    overrides = [("loss.name", name)]
    if own in PRESETS:
        if name != "batch-ot":
            raise RecipeError(f"--losses: {text}: presets are those of batch-ot")
        overrides += _preset(own)
    elif own:
        for part in own.split(","):
            setting, equals, value = part.partition("=")
            if not equals:
                raise RecipeError(
                    f"--losses: {text}: {part!r} is neither SETTING=VALUE nor a preset of batch-ot; presets are "
                    f"{', '.join(PRESETS)}"
                )
            overrides.append(
                (
                    setting
                    if "." in setting and "options" not in setting.split(".")[0]
                    else f"loss.{setting}",
                    value,
                )
            )
    given = {setting for setting, _ in overrides}
    space = {} if own in PRESETS else SPACES.get(name, {})
    tuned = {s: p for s, p in {**SPACES["*"], **space}.items() if s not in given}
    if not joint:
        overrides.append(("loss.cross_entropy_weight", "0"))
    return Contender(text, tuple(overrides), tuned)


def _preset(name: str) -> list[tuple[str, str]]:
    values = dataclasses.asdict(PRESETS[name])
    own = [(f"loss.{setting}", _text(values[setting])) for setting in _PRESET_SETTINGS]
    return [*own, ("loss.anchors", "0")]  # the paper and its programs have none


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
