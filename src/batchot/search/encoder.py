"""From prepared samples to embeddings: what an index needs of a trained network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from batchot.search.prepare import Inputs

if TYPE_CHECKING:
    pass

EXPORTED = "batchot.json"
"""The file by which a folder of ``batchot export`` is known."""


class Encoder(Protocol):
    """A trained network in whatever form."""

    @property
    def dimensions(self) -> int:
        """Width d of the embeddings."""

    @property
    def normalized(self) -> bool:
        """The embeddings are unit vectors."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it was trained on."""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same for the same network, as a run and exported."""

    @property
    def inputs(self) -> Inputs:
        """How shapes and drawings are made ready for it."""

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes: views uint8 (b, v, c, h, w) or points float32 (b, p, 3), to (b, d)."""

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, uint8 (b, 1, h, w), to (b, d)."""


def fingerprint_of(weights: Mapping[str, NDArray], inputs: Inputs | None) -> str:
    """Give what tells a network from others."""
    digest = hashlib.sha256(json.dumps(None if inputs is None else inputs.to_json(), sort_keys=True).encode())
    for name in sorted(weights):
        value = np.ascontiguousarray(weights[name])
        digest.update(f"\0{name}\0{value.dtype}\0{value.shape}\0".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
