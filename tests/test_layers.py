"""Imports run downwards only, lazy ones and those for type checking included, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import batchot

SRC = Path(batchot.__file__).parent
LAYERS = (
    ("errors", "files", "device", "compiling", "ranks", "named", "workers"),
    ("transport", "evaluation"),
    ("losses", "models", "shapes", "pml", "learner"),
    ("data",),
    ("towers",),
    ("training", "search", "export"),
    ("reporting",),
    ("audit", "serve", "benchmark", "commands", "cli", "demo", "__main__"),
)
APART = {
    "transport",
    "evaluation",
    "losses",
    "models",
    "shapes",
    "training",
    "search",
    "export",
}  # of those in their layer


def modules() -> dict[str, Path]:
    found = {}
    for path in SRC.rglob("*.py"):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts)
        if name != "__init__":
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of this package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batchot"):
            names = [
                inner
                if (inner := f"{node.module}.{each.name}") in {f"batchot.{m}" for m in known}
                else node.module
                for each in node.names
                if node.module is not None
            ]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (n for name in names if (n := name.removeprefix("batchot.")) in known and n != name)


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(path, known)) - {name} for name, path in known.items()}


def test_no_arrow_runs_upwards() -> None:
    level = {package: k for k, layer in enumerate(LAYERS) for package in layer}
    wrong = set()
    for name, targets in graph().items():
        own = name.partition(".")[0]
        for target in targets:
            to = target.partition(".")[0]
            beside = to != own and level[to] == level[own] and {to, own} <= APART
            if level[to] > level[own] or beside:
                wrong.add((name, target))
    assert not wrong


def test_no_imports_in_a_circle() -> None:
    left = {name: targets for name, targets in graph().items() if modules()[name].name != "__init__.py"}
    while free := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in free}
    circles = {name: sorted(targets & left.keys()) for name, targets in left.items()}
    assert not circles


def test_shapes_need_no_torch() -> None:
    for name, path in modules().items():
        if name.startswith("shapes"):
            assert "import torch" not in path.read_text(encoding="utf-8"), name
