"""What an index folder says of itself, in index.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchot.search.approximate import Probing
from batchot.search.calibration import Calibration
from batchot.search.errors import SearchError
from batchot.shapes.shape import Up
from batchot.training.files import RunError, write_json

FORMAT = 1


@dataclass(frozen=True)
class Root:
    """A folder whose shapes are in the index.

    Args:
        path: where it lay, absolute
        prefix: stands before the names of its shapes, "" or "NAME/"
        up: the axis of its files that points up
    """

    path: str
    prefix: str = ""
    up: Up = "auto"


@dataclass(frozen=True)
class Manifest:
    """What an index holds and how it was made.

    Args:
        fingerprint: of the network, see `batchot.search.encoder.Encoder`
        run: where the run lay that the network comes from
        dimensions: of the embeddings
        normalized: the embeddings are unit vectors
        inputs: how shapes and drawings are made ready, as `batchot.search.inputs.Inputs.to_json` gives it
        store: "shapes", a folder beside, or the address of a store elsewhere
        roots: folders whose shapes are there
        complete: the last build came to its end
        approximate: of the last approximate search that was built, with its measured recall; None: search is exact
        calibrations: by kind of query, "shape" and "drawing"
        created: date of the first build, UTC
        changed: date of the last change, UTC
        version: of batchot
    """

    fingerprint: str
    run: str
    dimensions: int
    normalized: bool
    inputs: dict[str, Any]
    store: str = "shapes"
    roots: tuple[Root, ...] = ()
    complete: bool = False
    approximate: dict[str, Any] | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    created: str = ""
    changed: str = ""
    version: str = ""

    @property
    def up(self) -> Up:
        """The axis that points up in the files of all its folders; "auto" where they differ."""
        axes = {root.up for root in self.roots}
        return axes.pop() if len(axes) == 1 else "auto"

    def up_of(self, path: Path) -> Up:
        """The axis of a file: that of the folder of the index in which it lies, else that of all of them."""
        around = [root for root in self.roots if path.absolute().is_relative_to(root.path)]
        return max(around, key=lambda root: len(root.path)).up if around else self.up

    @property
    def probing(self) -> Probing | None:
        """How the approximate index is searched, where there is one."""
        if self.approximate is None:
            return None
        return Probing(int(self.approximate["probes"]))

    def write(self, path: Path) -> Manifest:
        """Write it, whole or not at all, with the date and the version of now.

        Raises:
            SearchError: the disk is full or not writable
        """
        from batchot import __version__

        now = datetime.now(UTC).isoformat(timespec="seconds")
        written = dataclasses.replace(self, created=self.created or now, changed=now, version=__version__)
        values = {"format": FORMAT, **dataclasses.asdict(written)}
        values["calibrations"] = {kind: c.to_json() for kind, c in written.calibrations.items()}
        try:
            write_json(path, values)
        except RunError as error:
            raise SearchError(str(error)) from error
        return written

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read it.

        Raises:
            SearchError: there is no index, it is damaged, or of another version
        """
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
        except (OSError, ValueError) as error:
            raise SearchError(f"{path} cannot be read ({error}); build the index again") from error
        try:
            if values.pop("format") != FORMAT:
                raise SearchError(f"{path} is of another version of batchot; build the index again")
            values["roots"] = tuple(Root(**root) for root in values["roots"])
            values["calibrations"] = {k: Calibration.from_json(v) for k, v in values["calibrations"].items()}
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise SearchError(f"{path} is damaged ({error}); build the index again") from error


class IndexFolder:
    """Where the parts of an index lie.

    Args:
        root: the folder given as --out

    >>> IndexFolder(Path("parts.index")).manifest.name
    'index.json'
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "index.json"
        self.model = root / "model"
        self.shapes = root / "shapes"
        self.queries = root / "calibration.npz"
        self.map = root / "map.npz"
        self.contents = root / "contents.json"
        self.lock = root / ".writing.lock"

    def store_uri(self, manifest: Manifest) -> str:
        """Give the address of the store."""
        return str(self.shapes) if manifest.store == "shapes" else manifest.store
