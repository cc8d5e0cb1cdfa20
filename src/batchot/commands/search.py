"""``batchot search``: what is like a shape, a picture or a drawing in an index."""

from __future__ import annotations

import json
from pathlib import Path

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
        from batchot.search.records import Filters
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
            filters = Filters(tuple(options.classes), tuple(options.folders))
            try:
                filters.check(searcher.about.classes, searcher.about.folders)
            except ValueError as error:
                raise UsageError(str(error)) from error
            answer = searcher.search_file(
                options.query, kind=options.kind, up=options.up, k=options.k, filters=filters
            )
            if options.html is not None:
                picture = searcher.picture(options.query, up=options.up)
                write_text(options.html, answer_html(answer, options.query.name, searcher, picture))
        if options.json:
            print(json.dumps(answer_json(answer, str(options.query)), indent=2))
        else:
            print(answer_table(answer))
            if options.html is not None:
                print(f"page: {options.html}")
        return 0

    return guarded(work)
