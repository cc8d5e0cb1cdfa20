"""What an index folder says of itself, in index.json."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchot.errors import RunError
from batchot.files import write_json
from batchot.search.confidence import Calibration
from batchot.search.records import SearchError, printable
from batchot.shapes.shape import Up

FORMAT = 1
"""Of what this version writes. A field may come or go without a new number: readers pass over what they do not know,
and fill in what is missing. A new number says that a field has another meaning; then `_MIGRATIONS` has how to
read the old.
"""
_MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
_NEEDED = ("fingerprint", "dimensions", "normalized", "inputs")


@dataclass(frozen=True)
class Root:
    """A folder whose shapes are in the index."""

    path: str  # where it lay, absolute
    prefix: str = ""  # stands before the names of its shapes, "" or "NAME/"
    up: Up = "auto"  # the axis of its files that points up
    parts: bool = False  # each part of a STEP assembly is a shape of its own
    tolerance: float | None = None  # of its STEP and IGES files, see `CadSettings`; None: what that says


@dataclass(frozen=True)
class Manifest:
    """What an index holds and how it was made."""

    fingerprint: str  # of the network, see `batchot.search.encoder.Encoder`
    run: str  # where the run lay that the network comes from
    dimensions: int  # of the embeddings
    normalized: bool  # the embeddings are unit vectors
    # how shapes and drawings are made ready, as `batchot.search.prepare.Inputs.to_json` gives it
    inputs: dict[str, Any]
    store: str = "shapes"  # "shapes", a folder beside, or the address of a store elsewhere
    roots: tuple[Root, ...] = ()  # folders whose shapes are there
    complete: bool = False  # the last build came to its end
    # of the last approximate search that was built, with its measured recall; None: search is exact
    approximate: dict[str, Any] | None = None
    # by kind of query, "shape" and "drawing"
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    created: str = ""  # date of the first build, UTC
    changed: str = ""  # date of the last change, UTC
    version: str = ""  # of batchot
    spread: float | None = None  # median distance of two shapes of the index; None: not measured
    others: Mapping[str, Any] = field(default_factory=dict)  # fields of other versions, which are kept
    newer: int = (
        0  # the format, where a newer batchot wrote it: it is searched as far as it is known, not changed
    )

    @property
    def up(self) -> Up:
        """The axis that points up in the files of all its folders; "auto" where they differ."""
        axes = {root.up for root in self.roots}
        return axes.pop() if len(axes) == 1 else "auto"

    @property
    def tolerance(self) -> float | None:
        """That of the STEP and IGES files of all its folders; None where they differ."""
        tolerances = {root.tolerance for root in self.roots}
        return tolerances.pop() if len(tolerances) == 1 else None

    def how_of(self, path: Path) -> tuple[Up, float | None]:
        """Axis and tolerance of a file: of the folder of the index in which it lies, else those of all of them."""
        around = [root for root in self.roots if path.absolute().is_relative_to(root.path)]
        of = max(around, key=lambda root: len(root.path)) if around else self
        return of.up, of.tolerance

    def write(self, path: Path) -> Manifest:
        """Write it, whole or not at all, with the date and the version of now."""
        from batchot import __version__

        self.check_known(path.parent)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        written = dataclasses.replace(self, created=self.created or now, changed=now, version=__version__)
        values = {"format": FORMAT, **dataclasses.asdict(written)}
        del values["newer"]
        values |= {name: value for name, value in values.pop("others").items() if name not in values}
        values["calibrations"] = {kind: c.to_json() for kind, c in written.calibrations.items()}
        try:
            write_json(path, values)
        except RunError as error:
            raise SearchError(str(error)) from error
        return written

    def check_known(self, folder: Path) -> None:
        """Refuse to change what a newer version may mean otherwise."""
        if self.newer:
            raise SearchError(
                f"{folder} is an index of format {self.newer}, of a newer batchot; this one changes those up to format "
                f"{FORMAT}: update it. Searching goes on"
            )

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read it."""
        folder = path.parent
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SearchError(
                f"{folder} is no index: it has no {path.name}; make one with batchot index build RUN FOLDER "
                f"--out {folder}"
            ) from None
        except NotADirectoryError:
            raise SearchError(f"{folder} is a file; an index is a folder") from None
        except (OSError, ValueError, RecursionError) as error:
            raise SearchError(f"{path} cannot be read ({error}); build the index again") from error
        try:
            return cls._of(values, folder)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SearchError(f"{path} is damaged ({error}); build the index again") from error

    @classmethod
    def _of(cls, values: dict[str, Any], folder: Path) -> Manifest:
        number = values.pop("format", FORMAT)
        if not isinstance(number, int):
            raise ValueError(f"format {number!r} is no number")
        newer = number if number > FORMAT else 0
        while number in _MIGRATIONS:
            values, number = _MIGRATIONS[number](values), number + 1
        if any(name not in values for name in _NEEDED):  # the network in the folder knows
            from batchot.search.encoder import load_encoder

            encoder = load_encoder(folder / "model", "cpu")
            known = {name: getattr(encoder, name) for name in _NEEDED[:3]}
            values = {**known, "inputs": encoder.inputs.to_json(), **values}
        names = {field.name for field in dataclasses.fields(cls)} - {"others", "newer"}
        others = {name: value for name, value in values.items() if name not in names}
        values = {name: value for name, value in values.items() if name in names}
        values.setdefault("run", str(folder / "model"))
        known_root = {field.name for field in dataclasses.fields(Root)}
        roots = [{k: v for k, v in root.items() if k in known_root} for root in values.get("roots", ())]
        values["roots"] = tuple(Root(**root) for root in roots)
        if not isinstance(values["inputs"], dict) or not isinstance(values.get("store", ""), str):
            raise ValueError("its inputs are no object, or its store is no text")
        if values.get("approximate") is not None:
            int(values["approximate"]["probes"])
        calibrations = {}
        for kind, given in values.get("calibrations", {}).items():
            with contextlib.suppress(KeyError, TypeError):  # of another version: the next change fits it anew
                calibrations[kind] = Calibration.from_json(given)
        return cls(**{**values, "calibrations": calibrations, "others": others, "newer": newer})


class IndexFolder:
    """Where the parts of an index lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "index.json"
        self.model = root / "model"
        self.shapes = root / "shapes"
        self.queries = root / "calibration.npz"
        self.map = root / "map.npz"
        self.contents = root / "contents.json"
        self.unreadable = root / "unreadable.txt"
        self.spare = root / ".spare"
        self.lock = root / ".writing.lock"

    def store_uri(self, manifest: Manifest, *, allow: bool = False) -> str:
        """Give the address of the store."""
        if manifest.store == "shapes":
            return str(self.shapes)
        if not allow:
            raise SearchError(
                f"{self.root} has its shapes in {printable(manifest.store)}, which would be asked with the keys of "
                "your environment; if you trust it, add --allow-store"
            )
        return manifest.store
