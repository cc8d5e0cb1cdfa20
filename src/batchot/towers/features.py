"""Features of a frozen backbone, made once and kept on disk: samples like views and clouds."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from batchot.data.augment.strokes import fresh_batch
from batchot.data.batches.loader import Preparation
from batchot.data.batches.samplers import generator_for
from batchot.data.samples import InMemory, Samples
from batchot.data.sets.places import cache_folder
from batchot.device import reuse_large_blocks
from batchot.errors import DataError, RunError, Tell, nobody
from batchot.files import DAMAGED_ARCHIVE, write_atomically
from batchot.models.efficientnet_lite import EfficientNetLite

_FORMAT = 1  # raised when the features of the same samples would come out otherwise
_PICTURES_AT_ONCE = 64
_PACK_SECONDS = 10.0  # as much work as an interruption may lose


@dataclass(frozen=True, eq=False)
class Features(InMemory):
    """Labelled features of samples, in all the forms that were kept."""

    values: Tensor  # (n, k, v, f) float16
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    names: tuple[str, ...]  # of each sample, empty where they have none


@dataclass(frozen=True)
class OneForm:
    """Augmentation of kept features: one of the forms of each sample, drawn at random."""

    forms: tuple[int, ...]  # those that are drawn from

    def __call__(self, samples: Tensor, generator: torch.Generator, fill: Tensor | None) -> Tensor:
        """One form ``(b, 1, v, f)`` of each of the samples ``(b, k, v, f)``."""
        drawn = torch.randint(len(self.forms), (len(samples),), generator=generator)
        chosen = torch.tensor(self.forms)[drawn]
        return samples[torch.arange(len(samples)), chosen].unsqueeze(1)


@dataclass(frozen=True)
class Extractor:
    """What makes features of samples."""

    # from prepared samples to the features ``(b, v, f)`` of their pictures; frozen
    backbone: Callable[[Tensor], Tensor]
    mirrored: Callable[[Tensor], Tensor]  # from prepared samples to their mirror images
    preparation: Preparation  # of the samples; its augmentation makes the augmented forms
    device: torch.device  # where the backbone is
    identity: str  # what tells the backbone and the preparation from others, for the name of the cache
    augmentation: str = field(default="")

    def __call__(
        self, samples: Samples, indices: Sequence[int], keys: Sequence[str], form: str
    ) -> NDArray[np.float16]:
        """Features ``(b, v, f)`` of some samples in one form; ``keys`` are those of these samples."""
        with torch.inference_mode():
            if form.startswith("augmented"):
                # what is drawn for a sample depends on it and the form alone, not on the others beside it
                parts = []
                for index, key in zip(indices, keys, strict=True):
                    generator = generator_for(f"kept {form}", int(key[:15], 16))
                    one = fresh_batch(samples, torch.tensor([index]), generator, self.preparation.partial)
                    parts.append(self.preparation(one, generator))
                x = torch.cat(parts)
            else:
                x = self.preparation(samples.batch(torch.tensor(indices)))
            x = x.to(self.device)
            features = self.backbone(self.mirrored(x) if form == "mirrored" else x)
            return features.to(torch.float16).cpu().numpy()

    def folder(self, form: str) -> Path:
        """Where the features of one form are kept."""
        about = {"format": _FORMAT, "backbone": self.identity, "form": form}
        if form.startswith("augmented"):
            about["augmentation"] = self.augmentation
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
        return cache_folder() / "features" / name


def identity_of(backbone: nn.Module, about: str) -> str:
    """What tells a backbone with its weights from others, 64 hexadecimal digits."""
    digest = hashlib.sha256(f"{type(backbone).__name__} {about}".encode())
    for name, value in backbone.state_dict().items():
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"\0{name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def for_inference(backbone: nn.Module) -> nn.Module:
    """The same backbone in eval mode, faster where it knows how to fold its batch normalisation."""
    return backbone.folded() if isinstance(backbone, EfficientNetLite) else backbone.eval()


def keep_features(
    extractor: Extractor,
    samples: Samples,
    *,
    mirrored: bool,
    augmented: int = 0,
    tell: Tell = nobody,
    progress: bool = False,
) -> Features:
    """The features of samples, from the cache or made now and put into it."""
    forms = ["plain", *(["mirrored"] if mirrored else []), *(f"augmented {k}" for k in range(augmented))]
    keys = _keys(samples)
    stores: dict[str, _Store] = {}
    for attempt in range(2):
        stores = {form: _Store(extractor.folder(form)) for form in forms}
        work = [(form, missing) for form in forms if (missing := _first_of_each(keys, stores[form].known))]
        if work:
            count, kinds = sum(len(missing) for _, missing in work), len(forms)
            tell(
                f"embedding {len(samples):,} samples once{f', {kinds} forms of each' if kinds > 1 else ''}; {count:,} "
                f"of {len(samples) * kinds:,} are new; kept in {cache_folder() / 'features'}"
            )
            _make(extractor, samples, keys, work, stores, progress)
        try:
            values = [stores[form].gather(keys) for form in forms]
            break
        except _DamagedPack as error:  # deleted, so that it is made again
            if attempt:
                raise DataError(f"{error}; is the disk sound?") from error
    return Features(
        torch.from_numpy(np.stack(values, axis=1)), samples.labels, samples.classes, samples.names
    )


class _DamagedPack(Exception):
    """A pack was damaged and has been deleted."""


def _keys(samples: Samples) -> list[str]:
    """The SHA-256 of each sample as it is read."""
    keys = []
    for indices in torch.arange(len(samples)).split(64):
        batch = samples.batch(indices).contiguous()
        shape = f"{batch.dtype} {tuple(batch.shape[1:])}".encode()
        keys += [hashlib.sha256(shape + row.numpy().tobytes()).hexdigest() for row in batch]
    return keys


def _first_of_each(keys: Sequence[str], known: dict[str, tuple[Path, int]]) -> list[int]:
    """Where the first sample of each key is that is not known."""
    first: dict[str, int] = {}
    for k, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, k)
    return list(first.values())


def _make(
    extractor: Extractor,
    samples: Samples,
    keys: Sequence[str],
    work: Sequence[tuple[str, list[int]]],
    stores: dict[str, _Store],
    progress: bool,
) -> None:
    """Make what is missing, one thread a core, and write it in packs."""
    reuse_large_blocks()
    pictures = max(
        1, int(np.prod(extractor.preparation.project(samples.batch(torch.tensor([0]))).shape[1:-3]))
    )
    size = max(1, _PICTURES_AT_ONCE // pictures)
    threads = torch.get_num_threads()
    alone = extractor.device.type != "cpu"
    workers = 1 if alone else max(1, threads)
    jobs: Iterator[tuple[str, list[int]]] = (
        (form, part.tolist())
        for form, missing in work
        for part in torch.tensor(missing).split(size * (8 if alone else 1))
    )

    def keep(form: str, part: list[int], made: Future[NDArray[np.float16]]) -> None:
        stores[form].add([keys[k] for k in part], made.result())
        bar.update(len(part))

    total = sum(len(missing) for _, missing in work)
    written = time.monotonic()
    # Batches side by side, each on one core, keep the cores busier than all cores on each operation in turn.
    with (
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        tqdm(total=total, desc="features", unit="sample", disable=not progress) as bar,
    ):
        running: deque[tuple[str, list[int], Future[NDArray[np.float16]]]] = deque()
        try:
            for form, part in jobs:
                made = pool.submit(extractor, samples, part, [keys[k] for k in part], form)
                running.append((form, part, made))
                if len(running) == 2 * workers:
                    keep(*running[0])
                    running.popleft()
                if time.monotonic() - written > _PACK_SECONDS:
                    _flush(stores)
                    written = time.monotonic()
            while running:
                keep(*running[0])
                running.popleft()
        finally:
            for form, part, made in running:  # what is being made is kept too
                if not made.cancel() and made.exception() is None:
                    keep(form, part, made)
            torch.set_num_threads(threads)
            _flush(stores)


def _flush(stores: dict[str, _Store]) -> None:
    for store in stores.values():
        store.flush()


class _Store:
    """Packs of features in a folder; each pack is an ``.npz`` file with the keys and the features of some samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, tuple[Path, int]] = {}
        self._pending: list[tuple[list[str], NDArray[np.float16]]] = []
        for pack in sorted(folder.glob("*.npz")):
            try:
                with np.load(pack, allow_pickle=False) as archive:
                    for row, key in enumerate(archive["keys"].tolist()):
                        self.known.setdefault(key, (pack, row))
            except DAMAGED_ARCHIVE:
                pack.unlink(missing_ok=True)  # what was in it is made again

    def add(self, keys: list[str], features: NDArray[np.float16]) -> None:
        self._pending.append((keys, features))

    def flush(self) -> None:
        if not self._pending:
            return
        keys = [key for part, _ in self._pending for key in part]
        features = np.concatenate([part for _, part in self._pending])
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.npz"
        try:
            write_atomically(path, lambda file: np.savez(file, keys=np.array(keys), features=features))
        except RunError as error:
            raise DataError(
                f"cannot write in {self.folder} ({error}); make room on that disk, or set XDG_CACHE_HOME to a folder "
                "on another one"
            ) from error
        self.known |= {key: (path, row) for row, key in enumerate(keys)}
        self._pending = []

    def gather(self, keys: Sequence[str]) -> NDArray[np.float16]:
        """The features ``(n, v, f)`` of samples in the order of their keys."""
        by_pack: dict[Path, list[tuple[int, int]]] = {}
        for place, key in enumerate(keys):
            pack, row = self.known[key]
            by_pack.setdefault(pack, []).append((place, row))
        out: NDArray[np.float16] | None = None
        for pack, places in by_pack.items():
            try:
                with np.load(pack, allow_pickle=False) as archive:
                    features = archive["features"]
            except DAMAGED_ARCHIVE as error:
                pack.unlink(missing_ok=True)
                raise _DamagedPack(f"{pack} was damaged: {error}") from error
            if out is None:
                out = np.empty((len(keys), *features.shape[1:]), np.float16)
            to, rows = zip(*places, strict=True)
            out[list(to)] = features[list(rows)]
        assert out is not None
        return out
