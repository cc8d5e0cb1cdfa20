"""Labelled views of shapes, read from shards a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data.errors import DataError
from batchot.data.images import Splits
from batchot.data.labels import check_labels
from batchot.data.shard_index import AGAIN, INDEX, Rows, ShardIndex

if TYPE_CHECKING:
    from batchot.shapes.view_file import ViewShape
    from batchot.shapes.view_settings import ViewSettings


@dataclass(frozen=True, eq=False)
class ShardedViews:
    """Labelled views in tar files, of which only the batch that is asked for is in memory.

    The index knows the place of each sample, so that any sampler goes with them, batches of equally many samples of
    each class among them, and batch ``k`` of an epoch is read without those before it.

    Args:
        files: the shards.
        shards: index into ``files`` of each sample, int64, shape ``(n,)``.
        offsets: where its pixels begin there, int64, shape ``(n,)``.
        checksums: SHA-256 of its pixels, uint8, shape ``(n, 32)``.
        labels: index into ``classes`` of each sample, int64, shape ``(n,)``.
        classes: name of each class.
        names: of the shapes.
        view_shape: of each sample, ``(v, c, h, w)``.

    Raises:
        DataError: on a label without a class.
    """

    files: tuple[Path, ...]
    shards: NDArray[np.int64]
    offsets: NDArray[np.int64]
    checksums: NDArray[np.uint8]
    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...]
    view_shape: ViewShape
    _checked: NDArray[np.bool_] = field(init=False, repr=False)  # (n,) whether a sample was compared

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)
        object.__setattr__(self, "_checked", np.zeros(len(self.labels), bool))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Views, channels, height and width of each shape."""
        return self.view_shape

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The views of some shapes; each is compared with its checksum when it is read for the first time.

        Args:
            indices: of the shapes, int64, shape ``(b,)``.

        Returns:
            Pixels, uint8, shape ``(b, v, c, h, w)``.

        Raises:
            DataError: a shard is gone, cut short or damaged.
        """
        chosen = np.asarray(torch.as_tensor(indices, dtype=torch.int64))
        views = torch.empty((len(chosen), *self.view_shape), dtype=torch.uint8)
        array = views.numpy()
        order = np.lexsort((self.offsets[chosen], self.shards[chosen]))  # each file once, and onwards
        for shard in np.unique(self.shards[chosen]):
            path = self.files[shard]
            try:
                with open(path, "rb", buffering=0) as file:
                    for row in order[self.shards[chosen[order]] == shard]:
                        self._read(file, path, int(chosen[row]), array[row])
            except OSError as error:
                raise DataError(
                    f"{path} cannot be read ({error.strerror or error}); {AGAIN} {path.parent}"
                ) from error
        return views

    def _read(self, file: object, path: Path, index: int, views: NDArray[np.uint8]) -> None:
        file.seek(int(self.offsets[index]))  # type: ignore[attr-defined]
        n = file.readinto(views.data.cast("B"))  # type: ignore[attr-defined]
        whole = n == views.nbytes
        if whole and not self._checked[index]:
            whole = hashlib.sha256(views.data).digest() == self.checksums[index].tobytes()
            self._checked[index] = whole
        if not whole:
            raise DataError(
                f"{path} is damaged: the views of {self.names[index]} are not those that were written; delete it and "
                f"{AGAIN} {path.parent}"
            )

    def subset(self, indices: Tensor | Sequence[int]) -> ShardedViews:
        """The shapes at ``indices`` (int64, shape ``(k,)``), in that order, with the same classes."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = chosen.numpy()
        return replace(
            self,
            shards=self.shards[rows],
            offsets=self.offsets[rows],
            checksums=self.checksums[rows],
            labels=self.labels[chosen],
            names=tuple(self.names[row] for row in rows.tolist()),
        )


def load_shards(root: Path, settings: ViewSettings | None = None) -> Splits[ShardedViews]:
    """Find the shards that ``batchot render --shards`` has written; no views are read yet.

    Args:
        root: their folder.
        settings: from where and how the shapes must have been seen; ``None``: however they were.

    Returns:
        Training and test views.

    Raises:
        DataError: shards are missing, cut short or not finished, or show the shapes otherwise.
    """
    index = ShardIndex.read(root)
    if not index.samples_sha256:
        raise DataError(f"{root}: the shards are not finished; type the command that writes them again")
    if settings is not None:
        _check_settings(root, index, settings)
    bad = []
    for shard in index.shards:
        try:
            size = (root / shard.file).stat().st_size
        except OSError:
            bad.append(f"{shard.file} is missing")
            continue
        if size != shard.bytes:
            bad.append(f"{shard.file} has {size:,} bytes, not {shard.bytes:,}")
    if bad:
        more = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
        raise DataError(f"{root}: {'; '.join(bad[:3])}{more}; copy it again or {AGAIN} {root}")
    rows = Rows.read(root, index.samples_sha256)
    counts = [shard.samples for shard in index.shards]
    if sum(counts) != len(rows.labels):
        raise DataError(f"{root / INDEX} and its samples do not belong together; {AGAIN} {root}")
    whole = ShardedViews(
        tuple(root / shard.file for shard in index.shards),
        np.repeat(np.arange(len(counts)), counts),
        rows.offsets,
        rows.checksums,
        torch.from_numpy(rows.labels.astype(np.int64)),
        index.classes,
        rows.names,
        index.view_shape,
    )
    n_train = sum(shard.samples for shard in index.shards if shard.part == "train")
    everything = torch.arange(len(whole))
    return Splits(index.name, whole.subset(everything[:n_train]), whole.subset(everything[n_train:]))


def _check_settings(root: Path, index: ShardIndex, settings: ViewSettings) -> None:
    wanted = settings.description
    if wanted == index.settings:
        return
    there = {"cameras": index.cameras, **index.settings}
    asked = {"cameras": settings.placed.name, **wanted}
    overrides = [
        f"shapes.{name}={_spelled(there.get(name))}"
        for name in ("cameras", "size", "channels", "antialias", "up")
        if there.get(name) != asked[name]
    ]
    hint = f"train with {' '.join(overrides)}, or render" if overrides else "render"
    raise DataError(f"{root} shows the shapes otherwise than the recipe: {hint} them again")


def _spelled(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
