"""How the samples of a recipe are divided."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from batchot.data import Images, Samples, Splits
from batchot.training.inputs import collection_of, few_shots
from batchot.training.recipe import RecipeError
from batchot.training.recipes import load_recipe
from oracles import cad_files


def numbered(train: int, test: int) -> Splits[Images]:
    """Images of two classes in turn, each of the grey that is its number."""

    def part(first: int, n: int) -> Images:
        grey = torch.arange(first, first + n, dtype=torch.uint8)
        return Images(grey.view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous(), grey.long() % 2, ("even", "odd"))

    return Splits("numbered", part(0, train), part(train, test))


def greys(samples: Samples) -> list[int]:
    values: list[int] = samples.batch(torch.arange(len(samples)))[:, 0, 0, 0].tolist()
    return values


@pytest.mark.parametrize("test", [6, 0])
def test_few_shots_trains_on_so_many_of_each_class_and_measures_on_all_others(test: int) -> None:
    parts = few_shots(numbered(20 - test, test), 3, seed=0)
    assert parts.train.labels.bincount().tolist() == [3, 3]
    assert sorted(greys(parts.train) + greys(parts.test)) == list(range(20))
    assert [grey % 2 for grey in greys(parts.test)] == parts.test.labels.tolist()


def test_few_shots_are_drawn_by_the_seed_from_both_parts() -> None:
    drawn = [greys(few_shots(numbered(10, 10), 3, seed=seed).train) for seed in range(8)]
    assert drawn[0] == greys(few_shots(numbered(10, 10), 3, seed=0).train)
    assert len({tuple(greys_of) for greys_of in drawn}) > 4
    assert {grey >= 10 for greys_of in drawn for grey in greys_of} == {True, False}


def test_few_shots_of_a_class_that_is_too_small_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.shots: class even has 5 samples"):
        few_shots(numbered(5, 5), 5, seed=0)


def test_parts_and_tolerance_of_cad_files_are_settings_of_the_shapes(tmp_path: Path) -> None:
    pytest.importorskip("cascadio")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "one.step").write_bytes(cad_files.step())
    (tmp_path / "box" / "two.step").write_bytes(cad_files.step([(0, 0, 0), (9, 0, 0)]))
    more = (("shapes.parts", "true"), ("shapes.tolerance", "0.01"))
    for settings, names in (((), {"box/one", "box/two"}), (more, {"box/one", "box/two#0", "box/two#1"})):
        found = collection_of(load_recipe("shape-folder-scratch", settings), tmp_path)
        sources = (*found.train, *found.test)
        assert {source.name for source in sources} == names
        assert {source.tolerance for source in sources} == {0.01 if settings else None}
    with pytest.raises(RecipeError, match=r"shapes\.tolerance"):
        load_recipe("shape-folder-scratch", [("shapes.tolerance", "2")])
    with pytest.raises(RecipeError, match=r"shapes\.parts has no effect"):
        load_recipe("modelnet40", [("shapes.parts", "true")])
