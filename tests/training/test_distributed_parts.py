"""Three ranks with parts of 5, 2 and 0 rows, and as many as 7 in one process; how ranks agree and fail together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import distributed_parts as parts
from batchot.data import load_digits
from batchot.data.samples import Share
from batchot.errors import RunInterrupted
from batchot.models.layers import SyncBatchNorm, local_statistics, synchronise_norms
from batchot.training import load_run
from batchot.training.callbacks import StopRequest
from batchot.training.recipes import load_recipe
from batchot.training.run import train
from distributed_parts import SIZES, STOPPED
from process_group import run_in_group

COUNT = len(SIZES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run that one process began and left at its first batch."""
    folder = tmp_path_factory.mktemp("group")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopRequest, "listening", parts._made)
        with pytest.raises(RunInterrupted):
            train(load_recipe("digits", STOPPED), folder / "begun by one", device="cpu")
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_in_group(COUNT, parts.everything, folder, folder)


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    return parts.everything(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(load_recipe("digits", STOPPED), tmp_path_factory.mktemp("alone") / "run", device="cpu")


def test_gathered_rows_and_cross_entropy(ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    expected = alone["numbers"]
    got = [rank["numbers"] for rank in ranks]
    for name in ("rows", "entropy, gradient"):
        joined = torch.cat([each[name] for each in got]) / COUNT
        torch.testing.assert_close(joined, expected[name])
    for each in got:
        torch.testing.assert_close(each["entropy"], expected["entropy"])


@pytest.mark.parametrize("name", ["1d", "2d", "plain", "far from 0", "edges"])
def test_statistics_are_those_of_the_whole_batch(
    name: str, ranks: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    def of(found: dict[str, Any]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = found["edges"] if name == "edges" else found["norms"][name]
        return made

    tolerance = 1e-5 if name == "far from 0" else 1e-9
    for k, wanted in of(alone).items():
        got = [of(rank)[k] for rank in ranks]
        if k in ("y", "x"):
            found = [torch.cat(got)]
        elif k.endswith(("weight", "bias")):
            found = [torch.stack(got).sum(0)]  # each rank has its share of the gradient
        else:
            found = got  # running statistics are the same everywhere
        for each in found:
            torch.testing.assert_close(each, wanted, rtol=tolerance, atol=tolerance)


def test_masks_are_those_of_one_process(ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    assert torch.equal(torch.cat([rank["dropped"] for rank in ranks]), alone["dropped"])


def test_recalibration_takes_the_mean_over_all_batches(
    ranks: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    for rank in ranks:
        for k, wanted in alone["recalibrated"].items():
            if not k.endswith("num_batches_tracked"):
                torch.testing.assert_close(rank["recalibrated"][k], wanted)


def test_ranks_agree(ranks: list[dict[str, Any]]) -> None:
    for number, rank in enumerate(ranks):
        assert rank["agreements"] == {
            "from first": "of 0",
            "on first": 7,
            "of all": [0, 1, 2],
            "on any": (True, False),
            "one machine first": number,
        }


@pytest.mark.parametrize(
    ("what", "first", "others"),
    [
        ("one fails", "RunError: rank 1: no disk", "told 1"),
        ("all fail", "RecipeError: wrong", "told 2"),
        ("labels", "RunError: rank 1 differs from rank 0 in type of the labels of the samples", "told 1"),
        ("classes", "RunError: rank 1 differs from rank 0 in classes of the samples: ('a',)", "told 1"),
        ("settings", "RunError: rank 2 differs from rank 0 in loss.lam: 7.0 there, 5.0 on rank 0", "told 1"),
        ("alike", "fine", "fine"),
        ("fine", "fine: 0", "fine"),
    ],
)
def test_ranks_fail_together_and_the_first_says_why(
    what: str, first: str, others: str, ranks: list[dict[str, Any]], folder: Path
) -> None:
    heard = [rank["failures"][what] for rank in ranks]
    assert heard[0].startswith(first)
    assert all(text.startswith(others) for text in heard[1:])
    assert not (folder / "never").exists()


def test_a_stop_on_one_rank_stops_all_and_one_process_goes_on(
    ranks: list[dict[str, Any]], folder: Path, undisturbed: Any
) -> None:
    assert [rank["stopped"] for rank in ranks] == ["interrupted"] * COUNT
    resumed = train(load_recipe("digits", STOPPED), folder / "stopped", device="cpu", resume=True)
    assert len(resumed.rows) == 2
    for row, wanted in zip(resumed.rows, undisturbed.rows, strict=True):
        assert (row.loss, row.map) == pytest.approx((wanted.loss, wanted.map), rel=1e-3)


def test_several_processes_go_on_with_a_run_of_one(
    ranks: list[dict[str, Any]], folder: Path, undisturbed: Any
) -> None:
    for rank in ranks:
        assert rank["resumed"] == pytest.approx([row.loss for row in undisturbed.rows], rel=1e-3)
    embedder = load_run(folder / "begun by one")  # with PyTorch's own batch normalisation
    assert embedder(load_digits().test.batch(torch.arange(3))).shape == (3, 8)


def test_parts_make_up_the_batch() -> None:
    for n, count in ((7, 3), (64, 4), (2, 2)):
        rows = [Share(rank, count).rows(n) for rank in range(count)]
        assert torch.equal(torch.cat(rows), torch.arange(n))
        turns = [k for rank in range(count) for k in Share(rank, count).turns(n)]
        assert turns == list(range(n))
    halves = [Share(rank, 3, halves=True).rows(14).chunk(2) for rank in range(3)]
    assert torch.equal(torch.cat([first for first, _ in halves]), torch.arange(7))
    assert torch.equal(torch.cat([second for _, second in halves]), torch.arange(7, 14))
    assert list(Share(2, 3).turns(2)) == [0, 1]  # too few to be spread: every rank takes them all
    with pytest.raises(ValueError, match=r"rank must lie in 0 .. 1, got 2"):
        Share(2, 2)


def test_outside_of_a_group_it_is_plain_batch_normalisation() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    plain = nn.BatchNorm1d(3)
    network = nn.Sequential(nn.BatchNorm1d(3))
    synchronise_norms(network)
    assert isinstance(network[0], SyncBatchNorm)
    assert torch.equal(network(x), plain(x))
    assert network[0].state_dict().keys() == plain.state_dict().keys()
    with local_statistics(network):
        assert network[0].local
    assert not network[0].local
