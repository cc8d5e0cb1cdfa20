"""Classes of several towers under common labels."""

from __future__ import annotations

import pytest
import torch

from batchot.data import DataError, Images, Splits, pair_classes


def tower(classes: tuple[str, ...], train: list[int], test: list[int]) -> Splits[Images]:
    def part(labels: list[int]) -> Images:
        # Each picture is as grey as its class, so that a label that moved is seen.
        pixels = torch.tensor(labels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
        return Images(pixels, torch.tensor(labels, dtype=torch.int64), classes)

    return Splits("drawn", part(train), part(test))


SKETCH = tower(("dog", "giraffe", "guitar", "house"), [0, 1, 1, 2, 3], [0, 1, 2, 3])
SHAPE = tower(("Guitar", "House", "Quadruped", "ship"), [0, 1, 2, 3, 3], [])
RENAME = {
    "sketch": {"dog": "Quadruped", "giraffe": "Quadruped", "guitar": "Guitar"},
    "shape": {"House": "house"},
}


def test_merged_and_renamed_classes_keep_their_samples() -> None:
    paired = pair_classes({"sketch": SKETCH, "shape": SHAPE}, RENAME)
    assert paired.classes == ("Guitar", "Quadruped", "house", "ship")
    assert paired.shared == ("Guitar", "Quadruped", "house")
    assert paired.shared_labels == (0, 1, 2)
    assert paired.only == {"sketch": (), "shape": ("ship",)}
    for name, splits in (("sketch", SKETCH), ("shape", SHAPE)):
        for new, old in ((paired.parts[name].train, splits.train), (paired.parts[name].test, splits.test)):
            names = [RENAME[name].get(old.classes[label], old.classes[label]) for label in old.labels]
            assert [new.classes[label] for label in new.labels] == names
            assert torch.equal(new.batch(torch.arange(len(new))), old.images)
    assert SKETCH.train.classes == ("dog", "giraffe", "guitar", "house")


def test_a_class_without_training_samples_in_one_tower_is_not_shared() -> None:
    sketch = tower(("a", "b", "c"), [0, 0], [1])
    shape = tower(("a", "b", "d"), [0, 1, 2], [])
    paired = pair_classes({"sketch": sketch, "shape": shape})
    assert paired.classes == ("a", "b", "c", "d")
    assert paired.shared == ("a",)
    # b has sketches to test with, c has no samples at all
    assert paired.only == {"sketch": ("b",), "shape": ("b", "d")}


def test_three_towers() -> None:
    towers = {name: tower(("a", "b", "c"), labels, []) for name, labels in
              {"sketch": [0, 1], "photo": [1, 2], "shape": [0, 1, 2]}.items()}  # fmt: skip
    paired = pair_classes(towers)
    assert paired.shared == ("b",)
    assert paired.only == {"sketch": ("a",), "photo": ("c",), "shape": ("a", "c")}


def test_nothing_shared_shows_both_and_hints_at_case() -> None:
    with pytest.raises(DataError) as caught:
        pair_classes({"sketch": SKETCH, "shape": SHAPE})
    message = str(caught.value)
    assert "sketch (drawn): dog, giraffe, guitar, house" in message
    assert "shape (drawn): Guitar, House, Quadruped, ship" in message
    assert "'guitar' of sketch and 'Guitar' of shape may be the same class" in message
    assert "rename={'sketch': {'guitar': 'Guitar'}}" in message


def test_near_misses_are_named_where_others_are_shared() -> None:
    sketch = tower(("cup", "person_sitting", "ship"), [0, 1, 2], [])
    shape = tower(("Person Sitting", "cup", "tree"), [0, 1, 2], [])
    paired = pair_classes({"sketch": sketch, "shape": shape})
    assert paired.near_misses == (("sketch", "person_sitting", "shape", "Person Sitting"),)
    assert paired.shared == ("cup",) and paired.only["sketch"] == ("person_sitting", "ship")


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"sketch": {"dogs": "Quadruped"}}, r"'dogs': sketch has no such class \(did you mean 'dog'\?\)"),
        ({"shape": {"guitar": "x"}}, r"'guitar': shape has no such class \(did you mean 'Guitar'\?\)"),
        ({"sketches": {"dog": "Quadruped"}}, r"classes of sketches: .* sketch, shape \(did you mean 'sketch'\?\)"),
        ({"sketch": {"zebra": "Quadruped"}}, r"'zebra': sketch has no such class; it has dog, giraffe"),
    ],
)  # fmt: skip
def test_unknown_names(rename: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pair_classes({"sketch": SKETCH, "shape": SHAPE}, rename)


def test_one_tower() -> None:
    with pytest.raises(ValueError, match="two towers or more, got 1"):
        pair_classes({"sketch": SKETCH})
