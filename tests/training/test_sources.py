"""Sketches of several sources as one set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from batchot.data import DataError, Images, Splits
from batchot.data.batches.loader import Joined, mix
from batchot.data.batches.paired import PairedBatches
from batchot.data.batches.samplers import BalancedBatches, PlainBatches, Sources
from batchot.data.sets.quickdraw import Drawings
from batchot.training.data import load_splits
from batchot.training.inputs import find_quickdraw, mix_sources
from batchot.training.recipe import AugmentSettings, DataSettings, Recipe, RecipeError, TowerRecipe
from batchot.training.recipes import load_recipe

SIZE = 16


def recipe(train_on: object = "drawn", name: str = "sketches", **more: object) -> Recipe:
    data = DataSettings(name, image_size=SIZE, train_on=train_on, **more)  # type: ignore[arg-type]
    return Recipe("r", {"model": TowerRecipe(data, augment=AugmentSettings(hand=1.0))})


def drawn(classes: tuple[str, ...], each: int = 3) -> Splits[Images]:
    labels = torch.arange(len(classes)).repeat(each)
    part = Images(torch.full((len(labels), 1, SIZE, SIZE), 200, dtype=torch.uint8), labels, classes)
    return Splits("by hand", part, part)


def strokes(classes: tuple[str, ...], each: int = 2) -> Splits[Drawings]:
    labels = torch.arange(len(classes)).repeat(each)
    names = tuple(f"{classes[k]}/{n}" for n, k in enumerate(labels.tolist()))
    every = Drawings.of([[[[0, 0], [1, 1]]]] * len(labels), labels, classes, size=SIZE, names=names)
    return Splits("quickdraw", every, every.subset(torch.arange(0)))


def mixed(
    rename: dict[str, str] | None = None, asked: tuple[str, ...] = (), told: list[str] | None = None
) -> Splits:
    parts = {
        "drawn": drawn(("dog", "wine-bottle")),
        "quickdraw": strokes(("cat", "dog", "mug", "wine bottle")),
    }
    tell = (lambda text: None) if told is None else told.append
    both = recipe({"drawn": 1, "quickdraw": 0.5})
    return mix_sources(both, parts, rename={"quickdraw": rename or {}}, asked=asked, tell=tell)


def test_names_that_differ_in_writing_only_are_one_class_and_told() -> None:
    told: list[str] = []
    splits = mixed(told=told)
    assert splits.train.classes == ("cat", "dog", "mug", "wine-bottle")
    assert splits.train.labels.bincount().tolist() == [2, 5, 2, 5]
    assert told == [
        "quickdraw writes 1 classes otherwise, taken for the same: 'wine bottle' is 'wine-bottle'"
    ]
    assert len(splits.test) == 6 and splits.test.labels.unique().tolist() == [
        1,
        3,
    ]  # by hand, whatever is trained on


def test_only_the_classes_that_can_be_asked_for_are_kept() -> None:
    told: list[str] = []
    splits = mixed({"mug": "beer-mug"}, ("beer-mug", "table"), told)
    assert splits.train.classes == (
        "beer-mug",
        "dog",
        "wine-bottle",
    )  # a cat has no shape, and nobody drew one
    assert "1 classes of quickdraw have no shape and are left out: cat" in told
    with pytest.raises(RecipeError, match="no class of quickdraw is one of the shapes"):
        parts = {"quickdraw": strokes(("cat", "dog"))}
        mix_sources(recipe("drawn", "quickdraw"), parts, rename={}, asked=("table",))


def test_maps_that_name_what_nobody_has() -> None:
    told: list[str] = []
    with pytest.raises(
        RecipeError, match=r"'mug' is renamed to 'wine-botle'.* \(did you mean 'wine-bottle'\?\)"
    ):
        mixed({"mug": "wine-botle"})
    mixed({"mug": "Krug"}, told=told)
    assert "names that no other source and no shape has: 'mug' is 'Krug'" in told[0]
    mixed({"mugg": "dog"}, told=told)
    assert "names 1 classes that are not there: 'mugg' (did you mean 'mug'?)" in told[2]
    assert mixed({"mug": "cup", "cat": "cup"}).train.classes == ("cup", "dog", "wine-bottle")  # two made one
    parts = {"drawn": drawn(("dog",)), "quickdraw": strokes(("dog",))}
    with pytest.raises(
        DataError, match=r"cannot rename 'dogg': drawn has no such class \(did you mean 'dog'\?\)"
    ):
        mix_sources(recipe({"drawn": 1, "quickdraw": 1}), parts, rename={"drawn": {"dogg": "cat"}})


@pytest.mark.parametrize("share", [0.25, 1.0, 3.0])
def test_batches_are_drawn_by_the_shares(share: float) -> None:
    train = mix([drawn(("a", "b"), 40).train, strokes(("a", "b"), 30).train], [1.0, share])
    assert isinstance(train, Joined)
    of, sources = train.sources.of, train.sources  # type: ignore[union-attr]
    samplers = [
        PlainBatches(len(train), 8, sources=sources),
        BalancedBatches(train.labels, 8, 2, sources),
    ]
    for sampler in samplers:
        epochs = torch.cat([torch.cat(sampler.epoch(0, e)) for e in range(4)])
        assert float((of[epochs] == 1).float().mean()) == pytest.approx(share / (1 + share), abs=0.03)
        assert len(sampler) == pytest.approx(80 * (1 + share) / 8, abs=1)  # each of the first source once
        first = torch.cat(sampler.epoch(0, 0))
        assert first[of[first] == 0].bincount(minlength=80)[:80].max() <= 2
    paired = PairedBatches(
        {"sketch": train.labels, "shape": torch.tensor([0, 1])},
        {"sketch": 8, "shape": 2},
        2,
        sources={"sketch": sources},
    )
    chosen = torch.cat([batch["sketch"] for batch in paired.epoch(3, 0)])
    assert float((of[chosen] == 1).float().mean()) == pytest.approx(share / (1 + share), abs=0.05)
    assert len(paired) == pytest.approx(80 * (1 + share) / 8, abs=1)


def test_a_class_of_one_source_is_drawn_from_it() -> None:
    train = mix([drawn(("a", "b"), 10).train, strokes(("a", "b"), 10).train], [1.0, 1.0])
    of, labels = train.sources.of, train.labels  # type: ignore[attr-defined]
    kept = train.subset(((of == 1) | (labels == 0)).nonzero().flatten())
    assert kept.sources.of.bincount().tolist() == [10, 20]  # type: ignore[attr-defined]
    sampler = BalancedBatches(kept.labels, 10, 2, kept.sources)  # type: ignore[attr-defined]
    chosen = torch.cat(sampler.epoch(0, 0))
    assert kept.labels[chosen].bincount().tolist() == [5 * len(sampler)] * 2
    assert (kept.sources.of[chosen][kept.labels[chosen] == 1] == 1).all()  # type: ignore[attr-defined]


def test_shares_that_are_none() -> None:
    with pytest.raises(ValueError, match="positive"):
        Sources(torch.tensor([0]), (0.0,))
    with pytest.raises(ValueError, match="needs a share"):
        Sources(torch.tensor([0, 1]), (1.0,))


def test_settings() -> None:
    assert DataSettings("sketches").shares == {"drawn": 1.0}
    assert DataSettings("sketches", train_on="both").shares == {"drawn": 1.0, "lines": 1.0}
    assert DataSettings("quickdraw").shares == {"quickdraw": 1.0}
    assert DataSettings("line-drawings", train_on={"drawn": 1, "quickdraw": 2}).shares == {
        "lines": 1,
        "quickdraw": 2,
    }
    assert DataSettings("sketches", train_on={"drawn": 0, "lines": 2}).shares == {"lines": 2}
    with pytest.raises(
        RecipeError, match="there is no source 'quickdrawn'; there are drawn, quickdraw, lines"
    ):
        DataSettings("sketches", train_on={"quickdrawn": 1})
    for shares in ({}, {"drawn": 0.0}, {"drawn": -1.0, "lines": 1.0}, {"drawn": float("nan")}):
        with pytest.raises(RecipeError, match=r"data\.train_on"):
            DataSettings("sketches", train_on=shares)
    shrec = load_recipe("shrec13", [("sketch.data.train_on", "{drawn: 1, quickdraw: 0.5}")])
    assert shrec.towers["sketch"].data.shares == {"drawn": 1.0, "quickdraw": 0.5}  # type: ignore[union-attr]
    for old in ("drawn", "lines", "both"):
        load_recipe("sketch-folder-scratch", [("sketch.data.train_on", old)])
    with pytest.raises(RecipeError, match=r"data\.per_class has no effect here"):
        load_recipe("sketch-folder-scratch", [("sketch.data.per_class", "5")])
    assert load_recipe("sketches").data.mixed


def test_where_quickdraw_lies(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.quickdraw: there is no .*quickdraw\*"):
        find_quickdraw(recipe("quickdraw"), tmp_path)
    (tmp_path / "quickdraw25").mkdir()
    assert find_quickdraw(recipe("quickdraw"), tmp_path) == tmp_path / "quickdraw25"
    absolute = recipe("quickdraw", quickdraw=str(tmp_path / "quickdraw25"))
    assert find_quickdraw(absolute, None) == tmp_path / "quickdraw25"
    (tmp_path / "quickdraw_raw").mkdir()
    with pytest.raises(RecipeError, match=r"data\.quickdraw: there are .*quickdraw25"):
        find_quickdraw(recipe("quickdraw"), tmp_path)


def test_a_recipe_of_one_network_takes_both(tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

    for class_name in ("dog", "cat"):
        folder = tmp_path / "tuberlin" / class_name
        folder.mkdir(parents=True)
        for k in range(5):
            paper = Image.new("L", (40, 40), "white")
            ImageDraw.Draw(paper).line((5, 5 + k, 35, 20), fill="black", width=2)
            paper.save(folder / f"{k}.png")
    (tmp_path / "quickdraw").mkdir()
    lines = [json.dumps({"word": "dog", "drawing": [[[0, 9], [0, k]]]}) for k in range(4)]
    (tmp_path / "quickdraw" / "dog.ndjson").write_text("\n".join(lines))
    both = recipe({"drawn": 1, "quickdraw": 1}, folder="tuber*")
    splits = load_splits(both, tmp_path)
    assert (len(splits.train), len(splits.test)) == (12, 2)
    assert splits.train.draw(torch.arange(12), torch.Generator(), 0.5).shape == (12, 1, SIZE, SIZE)
    few = load_splits(recipe({"drawn": 1, "quickdraw": 1}, folder="tuber*", limit=5), tmp_path)
    assert (len(few.train), len(few.train.sources.of), len(few.test)) == (5, 5, 2)
    alone = load_splits(recipe("drawn", "quickdraw", folder="quickdraw"), tmp_path)
    assert (len(alone.train), len(alone.test)) == (3, 1)
    with pytest.raises(RecipeError, match="'lines' are drawn from the shapes of a cross-modal recipe"):
        load_splits(recipe("lines", folder="tuber*"), tmp_path)
