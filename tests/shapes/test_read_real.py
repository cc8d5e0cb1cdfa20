"""Meshes as they are published, out of the archives that lie beside the checkout."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import trimesh

from batchot.shapes import Mesh, read_shape


def members(archive: Path, most: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as opened:
        for member in islice((m for m in opened if m.isfile() and m.name.endswith((".obj", ".off"))), most):
            file = opened.extractfile(member)
            assert file is not None
            yield member.name, file.read()


@pytest.mark.parametrize("archive", ["psb_meshes.tar.xz", "modelnet10_off5.tar.xz"])
def test_the_same_triangles_as_trimesh(shared_data: Path, archive: str) -> None:
    found = list(members(shared_data / archive, 20))
    assert len(found) >= 5
    for name, content in found:
        ours = read_shape(content, Path(name).suffix, name, normalize=False)
        kind = name[-3:]
        theirs = trimesh.load_mesh(io.BytesIO(content), file_type=kind, process=False, maintain_order=True)
        assert isinstance(ours, Mesh)
        assert np.array_equal(ours.vertices[ours.faces], theirs.vertices[theirs.faces]), name
