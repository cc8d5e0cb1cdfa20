"""What the results of a worker depend on besides its task: the program, and the libraries that compute."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_COMPUTING = ("numpy", "numba", "torch")


def this_build() -> dict[str, str]:
    """Give the versions that must agree on all machines for equal results.

    Returns:
        Python, batchot with the first digits of a SHA-256 over its source files, and the libraries that compute.

    >>> sorted(this_build())
    ['batchot', 'numba', 'numpy', 'python', 'torch']
    """
    libraries = {name: _version(name) for name in _COMPUTING}
    return {
        "python": platform.python_version(),
        "batchot": f"{_version('batchot')}, code {_code()}",
        **libraries,
    }


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """Say in words in what a worker's build differs; None where it does not.

    >>> difference({"torch": "2.13.0"}, {"torch": "2.12.0"})
    'torch 2.12.0, not 2.13.0'
    """
    found = [f"{name} {there.get(name, 'missing')}, not {value}" for name, value in here.items()]
    return (
        "; ".join(text for text, name in zip(found, here, strict=True) if there.get(name) != here[name])
        or None
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _code() -> str:
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
