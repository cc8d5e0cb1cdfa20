"""What a folder is a comparison of, so that none is taken for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.files import RunError, RunFolder, write_json
from batchot.training.settings import flat, leaves, load_any_recipe, to_mapping

if TYPE_CHECKING:
    from batchot.benchmark.compare import Comparison

SUBJECT = "comparison.json"


OWN_FOLDERS = ("folder", "shape-folder", "sketches")  # data of the user, other data under another --data-root


def claim(out: Path, comparison: Comparison) -> None:
    """Write down what is compared in a folder, or find it written there.

    Losses, seeds, trials and how they are tuned may change from one command to the next; the recipe, its settings
    and, where a user points at data, that data may not, since results of both would stand in one table.

    Args:
        out: folder of the comparison
        comparison: what is compared

    Raises:
        RunError: the folder is of another comparison, or of a training run
    """
    if RunFolder(out).holds_run():
        raise RunError(f"{out} holds a training run; give another --out")
    path, ours = out / SUBJECT, _subject(comparison)
    if not path.is_file():
        write_json(path, ours)
        return
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); give another --out") from error
    if names:
        told = ", ".join(f"{name}={theirs.get(name)} (here {ours.get(name)})" for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunError(f"{out} holds another comparison, with {told}{more}; give another --out")


def _subject(comparison: Comparison) -> dict[str, Any]:
    recipe = load_any_recipe(comparison.recipe, comparison.overrides)
    several = isinstance(recipe, CrossModalRecipe)
    values = leaves(to_mapping(recipe)) if several else flat(to_mapping(recipe), comparison.recipe)
    for name in ("about", "seed", "checkpoint_minutes"):
        values.pop(name)
    root = comparison.data_root
    parts = recipe.towers.values() if isinstance(recipe, CrossModalRecipe) else [recipe]
    own = root is not None and any(part.data.name in OWN_FOLDERS for part in parts)
    values |= {"--joint": comparison.joint, "--data-root": str(root.resolve()) if root and own else None}
    return values
