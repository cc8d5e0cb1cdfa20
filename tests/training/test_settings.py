from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import first_difference, head_recipe, load_recipe, to_mapping
from batchot.training.settings import (
    allowed,
    full_name,
    is_setting,
    leaves,
    recipe_names,
    sections,
    setting_types,
    settings_help,
    split_entry,
    suggestion,
)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_right(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, [("seed", "3"), ("precision", "32")])
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(to_mapping(recipe)))
    assert load_recipe(str(file)) == recipe
    assert first_difference(load_recipe(str(file)), recipe) is None


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changed = load_recipe("mnist", [("loss.lam", "3"), ("model.widths", "[32,16]"), ("optim.lr", "1e-3")])
    assert changed.loss.lam == 3.0
    assert changed.model.widths == (32, 16)
    assert changed.optim.lr == 0.001
    before, after = to_mapping(load_recipe("mnist")), to_mapping(changed)
    after["loss"]["lam"], after["model"]["widths"] = before["loss"]["lam"], before["model"]["widths"]
    after["optim"]["lr"] = before["optim"]["lr"]
    assert after == before


def test_short_name_of_the_loss_and_its_options() -> None:
    recipe = load_recipe("digits", [("loss", "contrastive"), ("loss.options.neg_margin", "0.5")])
    assert recipe.loss.name == "contrastive"
    assert recipe.loss.options == {"neg_margin": 0.5}


def test_options_of_one_loss_are_not_handed_to_another(tmp_path: Path) -> None:
    values = to_mapping(load_recipe("digits", [("loss", "triplet"), ("loss.options.margin", "0.3")]))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    assert load_recipe(str(file), [("loss", "supcon")]).loss.options == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (("loss.lamda", "3"), "unknown setting 'loss.lamda'; did you mean loss.lam?"),
        (("lam", "3"), "did you mean loss.lam?"),
        (("loss.name", "foo"), "loss.name: 'foo' is not allowed; allowed: batch-ot, uniform, contrastive"),
        (("loss.lam", "many"), "loss.lam: 'many' is not allowed; allowed: a number"),
        (("loss.lam", "-1"), "loss.lam: -1.0 is not allowed; it must be between 0 and 10,000"),
        (("loss.lam", "20000"), "between 0 and 10,000"),
        (("loss.lam", ".nan"), "between 0 and 10,000"),
        (("loss.margin", "5"), "loss.margin: 5.0 is not allowed; it must be <= 4"),
        (("loss.margin", "0"), "loss.margin"),
        (("epochs", "0"), "epochs: 0 is not allowed; it must be >= 1"),
        (("epochs", "1.5"), "epochs: 1.5 is not allowed; allowed: a whole number"),
        (("epochs", ""), "epochs: None is not allowed; allowed: a whole number"),
        (("batch.size", "1"), "batch.size"),
        (("batch.sampler", "random"), "allowed: plain, balanced"),
        (("batch.classes_per_batch", "5"), "null with batch.sampler=plain"),
        (("model.channels", "[1,2,3]"), "a list of 2 whole numbers"),
        (("model.widths", "[]"), "one or more numbers"),
        (("precision", "16"), "precision: 16 is not allowed; allowed: 32, bf16"),
        (("optim.lr", "0"), "optim.lr"),
        (("optim.nesterov", "true"), "optim.nesterov"),
        (("loss.weight", "0"), "nothing would be trained"),
        (("loss.options.neg_margin", "1"), "loss.options belongs to the losses of pytorch-metric-learning"),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(override: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe("digits", [override])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("loss", "setting"),
    [("contrastive", "lam"), ("supcon", "margin"), ("uniform", "gamma")],
)
def test_settings_that_a_loss_does_not_look_at_are_refused(loss: str, setting: str) -> None:
    with pytest.raises(RecipeError, match=f"loss.{setting} has no effect with loss={loss}"):
        load_recipe("digits", [("loss", loss), (f"loss.{setting}", "2")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ndata: {name: digits}\nepoch: 3\n", "unknown setting 'epoch'; did you mean epochs?"),
        ("name: a\ndata: digits\n", "data must hold settings"),
        ("name: a\n", "data.name is missing"),
        ("data: {name: digits}\n", "name is missing"),
        ("name: [a\n", "is not valid YAML"),
        ("- 1\n", "must hold settings"),
        (
            "name: a\ndata: {name: digits}\nloss: {lam: x}\n",
            "loss.lam: 'x' is not allowed; allowed: a number",
        ),
    ],
)
def test_mistakes_in_a_file_are_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(file))
    assert message in str(raised.value)
    assert "mine.yaml" in str(raised.value)


def test_unknown_recipe_and_missing_file() -> None:
    with pytest.raises(RecipeError, match=r"there are cifar10, .*did you mean mnist\?"):
        load_recipe("mnsit")
    with pytest.raises(RecipeError, match="no recipe file"):
        load_recipe("nowhere/mine.yaml")


def test_help_names_every_setting_with_a_text() -> None:
    lines = settings_help().splitlines()
    for name in setting_types():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {name} = "))
        assert lines[at + 1].strip(), f"{name} has no text"


def test_recipe_without_overrides_is_what_the_dataclass_says() -> None:
    assert isinstance(load_recipe("digits"), Recipe)
    assert load_recipe("digits") == load_recipe("digits")


def test_settings_by_their_dotted_names() -> None:
    groups = ["data", "shapes", "augment", "model", "loss", "batch", "optim", "evaluation", "together"]
    assert list(sections()) == groups
    assert setting_types()["loss.lam"] is float
    assert (full_name("loss"), full_name("batch.classes-per-batch")) == (
        "loss.name",
        "batch.classes_per_batch",
    )
    assert split_entry("loss.options.neg_margin") == ("loss.options", "neg_margin")
    assert split_entry("loss.lam") == ("loss.lam", "")
    known = [is_setting(name) for name in ("loss.lam", "loss.options.neg_margin", "lam")]
    assert known == [True, True, False]
    assert leaves({"epochs": 3, "loss": {"lam": 5.0}}) == {"epochs": 3, "loss.lam": 5.0}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Literal["plain", "balanced"], "plain, balanced"),
        (tuple[int, ...], "a list of whole numbers such as [64,32]"),
        (int | None, "a whole number or null"),
    ],
)
def test_what_a_type_admits_in_words(kind: Any, words: str) -> None:
    assert allowed(kind) == words


def test_the_closest_known_word() -> None:
    assert suggestion("loss.lamda", ["loss.lam", "loss.gamma"]) == "; did you mean loss.lam?"
    assert suggestion("colour", ["loss.lam", "loss.gamma"]) == ""


def test_the_first_difference_of_two_recipes() -> None:
    other = load_recipe("mnist", [("loss.lam", "3")])
    assert first_difference(load_recipe("mnist"), other) == ("loss.lam", load_recipe("mnist").loss.lam, 3.0)


def test_the_run_of_the_head_has_its_own_settings() -> None:
    assert head_recipe(replace(load_recipe("digits"), first={"epochs": 2})).epochs == 2
    with pytest.raises(RecipeError, match="first: 'epoch' cannot be set there; did you mean epochs"):
        head_recipe(replace(load_recipe("digits"), first={"epoch": 2}))
