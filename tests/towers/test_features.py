"""Features that are made once and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchot.data import DataError, Images, Normalization, Preparation
from batchot.data.augment.images import Augmentation
from batchot.towers.features import Extractor, Features, OneForm, identity_of, keep_features

N = 7


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "batchot" / "features"


def images(seed: int = 0, n: int = N) -> Images:
    pixels = torch.randint(
        0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return Images(pixels, torch.arange(n) % 2, ("a", "b"), tuple(f"{k}.png" for k in range(n)))


class Counting:
    """A backbone that is a matrix, and counts the samples that it is given."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = nn.Linear(64, 5)
        self.seen = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.network(x.flatten(1)).unsqueeze(1)

    def extractor(self) -> Extractor:
        preparation = Preparation(Normalization((0.5,), (0.5,)), Augmentation(False, 2))
        identity = identity_of(self.network, "")
        return Extractor(self, lambda x: x.flip(-1), preparation, torch.device("cpu"), identity, "shift 2")


def test_forms_are_the_sample_its_mirror_image_and_augmented_ones() -> None:
    made, samples = Counting(), images()
    kept = keep_features(made.extractor(), samples, mirrored=True, augmented=2)
    x = (samples.images.float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        plain, mirrored = made(x), made(x.flip(-1))
    assert kept.values.dtype == torch.float16
    assert kept.sample_shape == (4, 1, 5)
    torch.testing.assert_close(kept.values[:, 0].float(), plain, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(kept.values[:, 1].float(), mirrored, atol=2e-3, rtol=1e-3)
    assert all(not torch.equal(kept.values[:, k], kept.values[:, 0]) for k in (2, 3))
    assert not torch.equal(kept.values[:, 2], kept.values[:, 3])
    assert torch.equal(kept.labels, samples.labels) and kept.names == samples.names


def test_what_was_made_is_not_made_again() -> None:
    made = Counting()
    first = keep_features(made.extractor(), images(), mirrored=False)
    assert made.seen == N
    again = keep_features(made.extractor(), images(), mirrored=False)
    assert made.seen == N
    assert torch.equal(first.values, again.values)
    keep_features(made.extractor(), images(), mirrored=True)
    assert made.seen == 2 * N


def test_samples_are_known_by_their_content_and_not_by_their_place() -> None:
    made, samples = Counting(), images()
    kept = keep_features(made.extractor(), samples, mirrored=False, augmented=1)
    seen = made.seen
    order = torch.tensor([3, 3, 0, 6])
    some = keep_features(made.extractor(), samples.subset(order), mirrored=False, augmented=1)
    assert made.seen == seen
    assert torch.equal(some.values, kept.values[order])
    alone = keep_features(
        Counting().extractor(), samples.subset(torch.tensor([5])), mirrored=False, augmented=1
    )
    assert torch.equal(alone.values[0], kept.values[5])


def test_another_backbone_has_features_of_its_own(cache: Path) -> None:
    a = keep_features(Counting(0).extractor(), images(), mirrored=False)
    b = keep_features(Counting(1).extractor(), images(), mirrored=False)
    assert not torch.equal(a.values, b.values)
    assert len(list(cache.iterdir())) == 2


def test_an_interruption_keeps_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counting()
    extractor = made.extractor()
    monkeypatch.setattr("batchot.towers.features._PICTURES_AT_ONCE", 1)

    class Interrupts(Images):
        def batch(self, indices: Tensor) -> Tensor:
            if made.seen >= 4:
                raise KeyboardInterrupt
            return super().batch(indices)

    samples = images()
    stopping = Interrupts(samples.images, samples.labels, samples.classes, samples.names)
    with pytest.raises(KeyboardInterrupt):
        keep_features(extractor, stopping, mirrored=False)
    done = made.seen
    assert 4 <= done < N + 3
    whole = keep_features(extractor, samples, mirrored=False)
    assert made.seen == N
    assert len(whole) == N


def test_a_damaged_pack_is_made_again(cache: Path) -> None:
    made = Counting()
    first = keep_features(made.extractor(), images(), mirrored=False)
    (pack,) = cache.rglob("*.npz")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 255  # within the arrays
    pack.write_bytes(content)
    again = keep_features(made.extractor(), images(), mirrored=False)
    assert torch.equal(first.values, again.values)
    pack.write_bytes(content[:100])
    again = keep_features(made.extractor(), images(), mirrored=False)
    assert torch.equal(first.values, again.values)


def test_a_folder_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot write in .*features.*XDG_CACHE_HOME"):
        keep_features(Counting().extractor(), images(), mirrored=False)


def test_two_processes_share_one_cache(tmp_path: Path, cache: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_features as t; "
        "print(float(t.keep_features(t.Counting().extractor(), t.images(n=200), mirrored=False).values.float().sum()))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(sums) == 1
    assert not list(cache.rglob("*.part"))


def test_one_form_is_drawn_for_each_sample() -> None:
    values = torch.arange(3.0).view(1, 3, 1, 1).expand(1000, 3, 2, 4)
    drawn = OneForm((0, 2))(values, torch.Generator().manual_seed(0), None)
    assert drawn.shape == (1000, 1, 2, 4)
    counts = np.bincount(drawn[:, 0, 0, 0].long().numpy(), minlength=3)
    assert counts[1] == 0 and abs(counts[0] - 500) < 80


def test_features_are_samples() -> None:
    kept = Features(torch.zeros(3, 1, 2, 4).half(), torch.tensor([0, 1, 1]), ("a", "b"), ("x", "y", "z"))
    some = kept.subset(torch.tensor([2, 0]))
    assert some.names == ("z", "x") and some.labels.tolist() == [1, 0] and len(some) == 2
    assert kept.batch(torch.tensor([1])).shape == (1, 1, 2, 4)
