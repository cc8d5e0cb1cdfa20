from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from batchot.errors import RunError
from batchot.towers.saved import check_weights, read_checkpoint
from batchot.training.callbacks import AtomicCheckpointIO
from batchot.training.run import TrainedRun


class NotATensor:
    """What a checkpoint that runs code could bring."""


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "pickle"])
def test_damaged_checkpoint_is_named_with_what_to_do(
    damage: str, finished_run: TrainedRun, tmp_path: Path
) -> None:
    file = tmp_path / "last.ckpt"
    content = finished_run.folder.last.read_bytes()
    if damage == "pickle":
        torch.save({"state_dict": NotATensor()}, file)
    else:
        file.write_bytes(
            {"truncated": content[: len(content) // 2], "garbage": b"x" * 1000, "empty": b""}[damage]
        )
    with pytest.raises(
        RunError, match=r"last.ckpt \([0-9,]+ bytes\) is damaged or no checkpoint.*Delete it"
    ) as e:
        read_checkpoint(file)
    assert "\n" not in str(e.value)
    shutil.copy(finished_run.folder.best, tmp_path / "best.ckpt")
    with pytest.raises(RunError, match=r"Copy .*best.ckpt over it"):
        read_checkpoint(file)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="holds no training state"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_first_parameter_that_does_not_fit_is_named() -> None:
    path, ours = Path("last.ckpt"), {"a": torch.zeros(2), "b": torch.zeros(3, 4)}
    check_weights(ours, ours, path)
    with pytest.raises(RunError, match=r"b is \(3, 5\) there and \(3, 4\) here"):
        check_weights({"a": torch.zeros(2), "b": torch.zeros(3, 5)}, ours, path)
    with pytest.raises(RunError, match=r"b \(3, 4\) is not in it"):
        check_weights({"a": torch.zeros(2)}, ours, path)
    with pytest.raises(RunError, match=r"it has c \(1,\), this one has not"):
        check_weights({**ours, "c": torch.zeros(1)}, ours, path)


def test_full_disk_leaves_the_previous_checkpoint_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, writer = tmp_path / "last.ckpt", AtomicCheckpointIO()
    writer.save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)
    monkeypatch.setattr("batchot.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(RunError, match=r"the previous last.ckpt is untouched"):
        writer.save_checkpoint({"state_dict": {"a": torch.zeros(2)}}, path)
    assert read_checkpoint(path)["state_dict"]["a"].tolist() == [1.0, 1.0]
    assert [f.name for f in tmp_path.iterdir()] == ["last.ckpt"]
