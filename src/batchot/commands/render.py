"""``batchot render``: the views of shapes, as pictures or into the cache that training reads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.commands.common import (
    ENGINE,
    VIEWS,
    Parser,
    UsageError,
    add,
    check_engine,
    checked_tolerance,
    engine_of,
    say,
    view_settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchot.data.sets.shape_files import ShapeCollection
    from batchot.shapes.source import ShapeSource
    from batchot.shapes.views.cache import ViewCache
    from batchot.workers.pool import Engine


def render(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot render",
        description="Render the views of shapes, in parallel, into the cache from which training reads them; "
        "with --out as PNG files too. What is there already is not rendered again. "
        "Exit status 1 says that some shapes could not be rendered; they are named.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a shape, or a folder of shapes")
    parser.add_argument("--out", type=Path, help="write PNG files into this folder, one a view and channel")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet, a row a shape, as this PNG file")
    parser.add_argument(
        "--shards",
        type=Path,
        help="write WebDataset tars with an index into this folder, for batchot train shards",
    )
    parser.add_argument("--shard-mb", type=int, help="size of a shard in MiB, about (256)")
    parser.add_argument("--sheet-rows", type=int, default=40, help="shapes on the contact sheet (40)")
    parser.add_argument("--processes", type=int, help="processes that render (one a core)")
    parser.add_argument("--time-limit", type=float, default=300.0, help="for one shape, seconds (300)")
    parser.add_argument(
        "--retry", action="store_true", help="try again what took too long or killed its process before"
    )
    add(parser, *ENGINE)
    add(parser, *VIEWS)
    add(parser, "--parts", default=False, help="each part of a STEP assembly is a shape of its own (no)")
    add(parser, "--tolerance")
    options = parser.parse_args(argv)
    check_engine(options)
    settings, tolerance = view_settings_of(options), checked_tolerance(options)
    if (options.processes is not None and options.processes < 1) or not options.time_limit > 0:
        raise UsageError("--processes and --time-limit must be positive")
    if options.shard_mb is not None and (options.shards is None or options.shard_mb < 1):
        raise UsageError("--shard-mb goes with --shards and must be at least 1")
    if options.sheet_rows < 1:
        raise UsageError("--sheet-rows must be at least 1")

    from batchot.data.sets.shape_folder import collection_of
    from batchot.shapes.views.render_all import render_collection
    from batchot.training.inputs import view_folder

    collection = collection_of(options.path, options.up, parts=options.parts, tolerance=tolerance)
    sources = (*collection.train, *collection.test)
    with engine_of(options) as engine:
        cache = render_collection(
            sources,
            settings,
            view_folder(),
            processes=options.processes,
            time_limit=options.time_limit,
            retry_failed=options.retry,
            progress=sys.stderr.isatty(),
            on_message=say,
            engine=engine,
        )
        print("\n".join(cache.lines()))
        if options.shards is not None:
            _write_shards(collection, cache, options, engine)
    there = [source for source in sources if source in cache]
    if options.out is not None:
        print(f"{_write_pictures(there, cache, options.out):,} pictures in {options.out}")
    if options.sheet is not None and there:
        _write_sheet(there, cache, options.sheet, options.sheet_rows)
    return 1 if cache.failures or collection.left_out else 0


def _write_shards(
    collection: ShapeCollection, cache: ViewCache, options: argparse.Namespace, engine: Engine | None
) -> None:
    from batchot.data.shards import SHARD_BYTES, write_shards

    size = SHARD_BYTES if options.shard_mb is None else options.shard_mb << 20
    progress = sys.stderr.isatty()
    index = write_shards(
        collection, cache, options.shards, shard_bytes=size, engine=engine, progress=progress
    )
    n_bytes = sum(shard.bytes for shard in index.shards)
    print(f"{len(index.shards):,} shards, {n_bytes / 1e6:,.1f} MB in {options.shards}")


def _write_pictures(sources: Sequence[ShapeSource], cache: ViewCache, out: Path) -> int:
    from PIL import Image
    from tqdm import tqdm

    from batchot.files import picture_file, write_bytes

    channels = cache.settings.channels
    written = 0
    for source in tqdm(sources, desc="pictures", leave=False, disable=not sys.stderr.isatty()):
        for number, view in enumerate(cache.load(source)):
            for channel, pixels in zip(channels, view, strict=True):
                kind = f"_{channel}" if len(channels) > 1 else ""
                picture = picture_file(Image.fromarray(pixels))
                write_bytes(out / f"{source.name}_{number:03d}{kind}.png", picture)
                written += 1
    return written


def _write_sheet(sources: Sequence[ShapeSource], cache: ViewCache, path: Path, rows: int) -> None:
    import numpy as np

    from batchot.files import write_bytes
    from batchot.reporting.sheet import draw_contact_sheet

    # shapes spread over all classes, which lie one after another
    shown = [sources[k] for k in np.linspace(0, len(sources) - 1, min(rows, len(sources))).astype(int)]
    views = np.stack([cache.load(source)[:, 0] for source in shown])  # (n, v, h, w)
    write_bytes(path, draw_contact_sheet(views, [source.name for source in shown]))
    print(f"contact sheet of {len(shown)} shapes: {path}")
