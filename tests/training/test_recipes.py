from pathlib import Path

import pytest
import yaml

from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import first_difference, load_recipe, to_mapping
from batchot.training.settings import settings_help


def cross(*overrides: tuple[str, str], name: str = "sketch-folder-scratch") -> Recipe:
    return load_recipe(name, overrides)


def test_an_override_reaches_one_tower_or_all() -> None:
    one = cross(("sketch.model.backbone", "resnet10-w8"))
    assert one.towers["sketch"].model.backbone == "resnet10-w8" != one.towers["shape"].model.backbone
    every = cross(("model.widths", "[32,16]"), ("epochs", "3"), ("loss", "uniform"))
    assert {t.model.widths for t in every.towers.values()} == {(32, 16)}
    assert {t.epochs for t in every.parts.values()} == {3}
    assert every.loss.name == "uniform"


def test_what_is_common_is_the_same_in_all_towers() -> None:
    recipe = cross(("seed", "7"), ("optim.lr", "0.01"), ("precision", "32"))
    assert (recipe.seed, recipe.optim.lr, recipe.precision) == (7, 0.01, "32")
    assert recipe.parts["sketch"].optim == recipe.parts["shape"].optim
    assert (recipe.query, recipe.target, recipe.pairs) == ("sketch", "shape", [("sketch", "shape")])


def test_together_is_overridden_by_its_own_names() -> None:
    recipe = cross(
        ("together.within.sketch", "0.5"),
        ("together.across.sketch-shape", "2"),
        ("together.four-terms", "true"),
        ("together.rename.sketch.dog", "Quadruped"),
        ("together.negatives", "4"),
    )
    together = recipe.together
    assert together.within == {"sketch": 0.5} and together.across == {"sketch-shape": 2}
    assert together.rename == {"sketch": {"dog": "Quadruped"}}
    assert together.four_terms and together.negatives == 4


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    recipe = cross(("together.within.sketch", "0.5"), ("sketch.batch.size", "24"), ("seed", "3"))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(to_mapping(recipe)))
    again = load_recipe(str(file))
    assert again == recipe
    assert first_difference(again, recipe) is None
    other = cross(("together.within.sketch", "0.5"), ("sketch.batch.size", "26"), ("seed", "3"))
    assert first_difference(recipe, other) == ("towers.sketch.batch.size", 24, 26)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (("sketch.optim.lr", "1"), "the same for all towers"),
        (("sketch.model.backbon", "x"), "did you mean model.backbone"),
        (("together.negative", "1"), "did you mean together.negatives"),
        (("together.negatives", "-1"), "must be >= 0"),
        (("together.within.photo", "1"), "there is no 'photo'; there are sketch, shape"),
        (("together.across.shape-sketch", "1"), "there are sketch-shape"),
        (("together.within.sketch", "-1"), "must be >= 0"),
        (("together.gallery", "none"), "allowed: all, test"),
        (("sketch.model.pooling", "mean"), "no effect here"),
        (("shape.augment.elastic", "1"), "no effect here"),
        (("model.channels", "[1,2]"), "no effect here"),
        (("batch.sampler", "plain"), "always balanced"),
        (("sketch.model.widths", "[64]"), "end in one width"),
        (("together.share", "backbone"), "one and the same model.backbone"),
        (("shape.model.name", "lenet"), "lenet or cnn for images"),
    ],
)
def test_what_is_wrong_is_named(override: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        cross(override)


def test_a_recipe_of_one_network_is_one_with_a_tower() -> None:
    recipe = load_recipe("digits", [("model.widths", "[16,8]"), ("epochs", "3")])
    assert list(recipe.towers) == [recipe.query] == [recipe.target] == ["model"] and not recipe.several
    assert recipe.model is recipe.towers["model"].model and recipe.parts == {"model": recipe}
    assert "towers" not in to_mapping(recipe) and "together" not in to_mapping(recipe)
    sketch = cross(("epochs", "4")).parts["sketch"]
    assert (sketch.data.name, sketch.epochs, sketch.several) == ("sketches", 4, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("towers: {sketch: {data: {name: sketches}}}", "name is missing"),
        ("{name: x, towers: 3}", "a group of settings for each tower"),
        ("{name: x, towers: {}}", "a group of settings for each tower"),
        ("{name: x, towers: {a: {model: {name: cnn}}}}", "data.name is missing"),
        ("{name: x, towers: {a: {data: {name: digits}}, b: {model: {name: cnn}}}}", "b.data.name is missing"),
        ("{name: x, towers: {a: {optim: {lr: 1}}, b: {}}}", "the same for all towers"),
        ("{name: x, data: {name: digits}, together: {negatives: 3}}", "recipes of several towers"),
        ("{name: x, towers: {a: {}, b: {}}, together: 3}", "together must hold settings"),
        ("{name: x, towers: {a: *s, b: *s}, together: {shared: all}}", "unknown setting 'together.shared'"),
    ],
)
def test_a_broken_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text.replace("*s", "{data: {name: sketches}, model: {name: cnn}}"))
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(file))


@pytest.mark.parametrize("name", ["model", "digit"])
def test_the_only_tower_may_be_named(name: str, tmp_path: Path) -> None:
    values = to_mapping(load_recipe("digits", [("model.widths", "[16,8]")]))
    own = {section: values.pop(section) for section in ("data", "shapes", "augment", "model", "batch")}
    file = tmp_path / "named.yaml"
    file.write_text(yaml.safe_dump(values | {"towers": {name: own}}))
    recipe = load_recipe(str(file), [(f"{name}.batch.size", "50")])
    assert list(recipe.towers) == ["model"] and not recipe.several
    assert (recipe.model.widths, recipe.batch.size) == ((16, 8), 50)
    assert load_recipe(str(file), [("batch.size", "50"), ("model.dropout", "0.5")]).model.dropout == 0.5
    assert (
        recipe.towers["model"]
        == load_recipe("digits", [("model.widths", "[16,8]"), ("batch.size", "50")]).towers["model"]
    )
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(to_mapping(recipe)))
    assert load_recipe(str(again)) == recipe
    with pytest.raises(RecipeError, match=r"together.negatives has no effect here"):
        load_recipe(str(file), [("together.negatives", "1")])


def test_help_lists_every_setting_with_its_value() -> None:
    text = settings_help(cross(("sketch.augment.elastic", "1.25")))
    assert "sketch.augment.elastic = 1.25 (a number)" in text
    assert "together.share = none (none, backbone, all)" in text
    assert "shape.model.pooling = max" in text
    assert "optim.lr = " in text and "sketch.optim.lr" not in text
