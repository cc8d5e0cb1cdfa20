"""Small folders of built-in shapes, as a user might have them."""

from __future__ import annotations

from pathlib import Path

from batchot.shapes.library import generate_shape

SMALL_RUN = (
    "epochs=1",
    "precision=32",
    "batch.size=6",
    "batch.classes_per_batch=3",
    "model.widths=[16,8]",
    "model.backbone=resnet10-w4-s4",
    "shapes.size=32",
    "shapes.cameras=box-6",
)
"""Overrides that make a run on such a folder a matter of seconds."""


def write_off(path: Path, class_name: str, seed: int) -> None:
    """Write one of the built-in shapes."""
    mesh = generate_shape(class_name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [" ".join(f"{x:.6f}" for x in vertex) for vertex in mesh.vertices]
    lines += ["3 " + " ".join(map(str, face)) for face in mesh.faces]
    path.write_text("\n".join(lines) + "\n")


def write_folder(root: Path, *, train: int = 6, test: int = 3) -> Path:
    """Write CLASS/train/*.off and CLASS/test/*.off of three classes."""
    for class_name in ("bottle", "stairs", "airplane"):
        for k in range(train + test):
            part = "train" if k < train else "test"
            write_off(root / class_name / part / f"{class_name} {k}.off", class_name, k)
    return root
