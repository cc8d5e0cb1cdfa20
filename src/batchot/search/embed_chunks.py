"""Shapes of a collection made ready and embedded in chunks, on this machine or by the workers of an engine.

Which shapes are embedded together depends on their order alone, not on which was ready first, and every batch that
the network sees has `CHUNK` rows: so an index holds the same numbers whoever made it, at once or with interruptions.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from batchot.engine.engine import Lost
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.prepare import Prepared
from batchot.search.records import QueryRefused
from batchot.search.sandbox import Sandbox
from batchot.shapes.views.content import source_id

if TYPE_CHECKING:
    from batchot.device import Device
    from batchot.engine.engine import Engine
    from batchot.shapes.source import ShapeSource

CHUNK = 16
"""Shapes that are embedded at once."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A shape with its embedding."""

    prepared: Prepared  # what is known of it, without the sample
    vector: NDArray[np.float32]  # (d,)
    photo: NDArray[np.float32] | None = (
        None  # (f,), with which photos are compared; None: it was not asked for
    )


@dataclass(frozen=True)
class OnWorkers:
    """Workers that embed."""

    engine: Engine  # whose workers see the shapes and the model as this process does
    model: Path  # folder of the network
    device: Device = "auto"  # as for `load_encoder`


def embed_chunks(
    sources: Sequence[ShapeSource],
    encoder: Encoder,
    *,
    processes: int | None = None,
    on: OnWorkers | None = None,
    photos: bool = False,
) -> Generator[tuple[int, Embedding | QueryRefused], None, None]:
    """Make shapes ready and embed them."""
    if on is None:
        yield from _here(sources, encoder, processes, photos)
        return
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    if not chunks:
        return
    import torch

    from batchot.device import accelerator_of

    kind: Device = "cpu" if accelerator_of(on.device) == "cpu" else "cuda"
    make = partial(ChunkSeat, on.model.absolute(), kind, torch.get_num_threads(), photos)
    with on.engine.pool(make, shared=(on.model, sources[0].path.parent), gpu=kind != "cpu") as pool:
        for number, answer in pool.run(chunks):
            if isinstance(answer, Lost):
                answer = [f"{source.location}: {answer}" for source in chunks[number]]
            for k, found in enumerate(answer, number * CHUNK):
                yield k, QueryRefused(found, "damaged") if isinstance(found, str) else found


class ChunkSeat:
    """A network, and a process that reads files for it, at a worker."""

    def __init__(self, model: Path, device: Device, threads: int, photos: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        self._encoder, self._photos = load_encoder(model, device), photos
        self._held = ExitStack()
        self._sandbox = self._held.enter_context(Sandbox(self._encoder.inputs, processes=1, files=True))

    def __call__(self, sources: Sequence[ShapeSource]) -> list[Embedding | str]:
        """The embeddings of a chunk; where there is none, why not."""
        found = dict(_numbered(sources, self._sandbox))
        results = _embedded([found[k] for k in range(len(sources))], self._encoder, self._photos)
        return [str(result) if isinstance(result, QueryRefused) else result for result in results]

    def close(self) -> None:
        """End the process that reads."""
        self._held.close()


def _here(
    sources: Sequence[ShapeSource], encoder: Encoder, processes: int | None, photos: bool
) -> Iterator[tuple[int, Embedding | QueryRefused]]:
    waiting: dict[int, dict[int, Prepared | QueryRefused]] = {}
    with Sandbox(encoder.inputs, processes=processes, files=True) as sandbox:
        for k, result in _numbered(sources, sandbox):
            number = k // CHUNK
            chunk = waiting.setdefault(number, {})
            chunk[k] = result
            if len(chunk) == min(CHUNK, len(sources) - number * CHUNK):
                del waiting[number]
                order = sorted(chunk)
                yield from zip(order, _embedded([chunk[k] for k in order], encoder, photos), strict=True)


def _numbered(
    sources: Sequence[ShapeSource], sandbox: Sandbox
) -> Iterator[tuple[int, Prepared | QueryRefused]]:
    numbers = {source_id(source): k for k, source in enumerate(sources)}
    for source, result in sandbox.prepare_sources(sources):
        yield numbers[source_id(source)], result


def _embedded(
    chunk: Sequence[Prepared | QueryRefused], encoder: Encoder, photos: bool
) -> list[Embedding | QueryRefused]:
    samples = [prepared.sample for prepared in chunk if isinstance(prepared, Prepared)]
    if not samples:
        return [prepared for prepared in chunk if isinstance(prepared, QueryRefused)]
    # Always as many rows: kernels are chosen by them, and the last bits of a sum depend on the kernel.
    padded = np.stack(samples + samples[:1] * (CHUNK - len(samples)))
    vectors = iter(encoder.shapes(padded))
    seen = iter(encoder.seen_as_photos(padded) if photos else [None] * CHUNK)
    return [
        prepared
        if isinstance(prepared, QueryRefused)
        else Embedding(replace(prepared, sample=prepared.sample[:0]), next(vectors), next(seen))
        for prepared in chunk
    ]
