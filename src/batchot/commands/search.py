"""``batchot search``: what is like a shape, a picture or a drawing in an index."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchot.commands.common import Parser, UsageError, add_allow_store, add_device, guarded


def search(argv: list[str]) -> int:
    """Run the command."""
    parser = Parser(
        prog="batchot search",
        description="Look up what is like a shape, a picture or a drawing in an index, nearest first, and which class "
        "its neighbours speak for.",
        allow_abbrev=False,
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="folder made by batchot index build")
    parser.add_argument(
        "query", type=Path, metavar="QUERY", help="a mesh, a point cloud, a picture or a drawing"
    )
    parser.add_argument("-k", type=int, default=10, metavar="N", help="how many results (10)")
    parser.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME", help="only of a class"
    )
    parser.add_argument("--folder", dest="folders", action="append", default=[], help="only below a folder")
    add_sizes(parser)
    parser.add_argument(
        "--kind",
        choices=("auto", "shape", "picture", "sketch"),
        default="auto",
        help="of the query (its content says)",
    )
    parser.add_argument(
        "--up",
        choices=("auto", "z", "y"),
        default="auto",
        help="the axis of the query that points up (the index's)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="run or exported model to embed with (the index's)"
    )
    parser.add_argument("--store", metavar="URI", help="address of the store, where it has moved")
    add_allow_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures")
    add_device(parser)
    options = parser.parse_args(argv)
    if not 1 <= options.k <= 1000:
        raise UsageError(f"-k must lie in 1 .. 1000, got {options.k}")

    def work() -> int:
        from batchot.search.answer_page import answer_html, answer_json, answer_table
        from batchot.search.records import Filters, in_order
        from batchot.search.searcher import Searcher
        from batchot.training.files import write_text

        if not options.query.is_file():
            raise UsageError(
                f"{options.query} is no file; give a mesh, a point cloud, a picture or a drawing"
            )
        with Searcher.open(
            options.index,
            model=options.model,
            store=options.store,
            device=options.device,
            allow_store=options.allow_store,
        ) as searcher:
            try:
                filters = Filters(tuple(options.classes), tuple(options.folders), **size_filters(options))
                filters.check(searcher.about.classes, searcher.about.folders)
            except ValueError as error:
                raise UsageError(str(error)) from error
            answer = searcher.search_file(
                options.query, kind=options.kind, up=options.up, k=options.k, filters=filters
            )
            answer = replace(answer, hits=in_order(answer.hits, options.sort))
            if options.html is not None:
                picture = searcher.picture(options.query, up=options.up)
                write_text(options.html, answer_html(answer, options.query.name, searcher, picture))
        if options.json:
            print(json.dumps(answer_json(answer, str(options.query)), indent=2))
        else:
            print(answer_table(answer, sizes=filters.of_sizes or options.sort != "distance"))
            if options.html is not None:
                print(f"page: {options.html}")
        return 0

    return guarded(work)


def add_sizes(parser: Parser) -> None:
    """Add the options by which shapes are chosen and sorted by size."""
    text = "in mm where the files say their unit, else as their numbers are; with a unit only those that say theirs"
    parser.add_argument(
        "--size", metavar="RANGE", help=f"longest extent, as 120mm, 100..140mm, ..5in or 120; {text}"
    )
    parser.add_argument("--area", metavar="RANGE", help="of the surface, as 30..40cm2")
    parser.add_argument("--volume", metavar="RANGE", help="that it encloses, as ..6000mm3")
    parser.add_argument(
        "--within", type=float, default=10.0, metavar="PERCENT", help="how far off a single value may be (10)"
    )
    parser.add_argument(
        "--same-size", action="store_true", help="only shapes whose three extents are the query's, --within"
    )
    parser.add_argument(
        "--sort",
        choices=("distance", "size", "-size", "area", "-area", "volume", "-volume"),
        default="distance",
        help="order of the results; write --sort=-size for the largest first",
    )


def size_filters(options: argparse.Namespace) -> dict[str, Any]:
    """The filters of `add_sizes`."""
    from batchot.search.records import MOST_WITHIN, range_of

    if not 0 <= options.within <= MOST_WITHIN:
        raise ValueError(f"--within must lie in 0 .. {MOST_WITHIN:g} per cent, got {options.within:g}")
    powers = {"size": 1, "area": 2, "volume": 3}
    chosen = {name: getattr(options, name) for name in powers if getattr(options, name) is not None}
    found: dict[str, Any] = {
        name: range_of(text, powers[name], options.within) for name, text in chosen.items()
    }
    return found | ({"same_size": options.within} if options.same_size else {})
