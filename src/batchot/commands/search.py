"""``batchot search``: what is like a shape, a picture or a drawing in an index, or is called so."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchot.commands.common import Parser, UsageError, add, guarded

if TYPE_CHECKING:
    from batchot.search.records import Filters
    from batchot.search.searcher import Answer, Searcher


def search(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot search",
        description="Look up what is like a shape, a picture or a drawing in an index, nearest first, and which class "
        "its neighbours speak for. Several files are asked for as one: views of a thing, drawings of it. Of a folder "
        "every file is asked for, and what is found is written as a table: the same command goes on after an "
        "interruption, and exit status 1 says that some files could not be taken. Without a file, --text and the "
        "filters say what is listed.",
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="folder made by batchot index build")
    parser.add_argument(
        "query",
        type=Path,
        nargs="*",
        metavar="QUERY",
        help="a mesh, a point cloud, a picture or a drawing; several of one thing; or a folder, with --csv",
    )
    parser.add_argument(
        "--text", default="", metavar="WORDS", help="only where name, folder or class hold these words"
    )
    parser.add_argument("-k", type=int, default=10, metavar="N", help="how many results (10)")
    parser.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME", help="only of a class"
    )
    parser.add_argument("--folder", dest="folders", action="append", default=[], help="only below a folder")
    add_sizes(parser)
    parser.add_argument(
        "--kind",
        choices=("auto", "shape", "picture", "sketch", "photo"),
        default="auto",
        help="of the query (its content says): a photo shows an object, other pictures are drawings",
    )
    add(parser, "--up", help="the axis of the query that points up (the index's)")
    add(parser, "--model")
    add(parser, "--store")
    add(parser, "--allow-store")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a table, of a folder a row for each result"
    )
    add(parser, "--device")
    options = parser.parse_args(argv)
    if not 1 <= options.k <= 1000:
        raise UsageError(f"-k must lie in 1 .. 1000, got {options.k}")

    folder = _folder_of(options)

    def work() -> int:
        from batchot.search.records import Filters
        from batchot.search.searcher import Searcher

        how = {name: getattr(options, name) for name in ("model", "store", "device", "allow_store")}
        with Searcher.open(options.index, **how) as searcher:
            try:
                filters = Filters(
                    tuple(options.classes), tuple(options.folders), text=options.text, **size_filters(options)
                )
                filters.check(searcher.about.classes, searcher.about.folders)
            except ValueError as error:
                raise UsageError(str(error)) from error
            if folder is not None:
                return _many(options, folder, searcher, filters)
            return _one(options, searcher, filters)

    return guarded(work, "type the same command again to go on" if folder is not None else "")


def _folder_of(options: argparse.Namespace) -> Path | None:
    """The folder that is asked for, or None where files or names are."""
    folders = [path for path in options.query if path.is_dir()]
    if folders:
        if len(options.query) > 1:
            raise UsageError("give one folder, or files; not both")
        if options.csv is None or options.json or options.html is not None:
            raise UsageError(f"{folders[0]} is a folder: say with --csv FILE where the table goes")
        return Path(folders[0])
    for path in options.query:
        if not path.is_file():
            raise UsageError(f"{path} is no file; give a mesh, a point cloud, a picture or a drawing")
    alone = ("text", "classes", "folders", "size", "area", "volume")
    if not options.query and not any(getattr(options, name) for name in alone):
        raise UsageError("say what to look for: a file, --text, --class, --folder or --size")
    if options.csv is not None:
        raise UsageError("--csv is for a folder of queries; one answer is printed, or --json")
    return None


def _one(options: argparse.Namespace, searcher: Searcher, filters: Filters) -> int:
    from batchot.files import write_text
    from batchot.search.answer_page import answer_html, answer_json, answer_table
    from batchot.search.records import in_order

    asked = ", ".join(path.name for path in options.query) or options.text or "everything"
    answer: Answer
    if options.query:
        queries = [searcher.embed_file(path, kind=options.kind, up=options.up) for path in options.query]
        answer = searcher.search_query(searcher.fuse(queries), k=options.k, filters=filters)
    else:
        answer = searcher.search_names(filters, k=options.k)
    answer = replace(answer, hits=in_order(answer.hits, options.sort))
    if options.html is not None:
        picture = searcher.picture(options.query[0], up=options.up) if options.query else None
        write_text(options.html, answer_html(answer, asked, searcher, picture))
    if options.json:
        named = str(options.query[0]) if len(options.query) == 1 else asked
        print(json.dumps(answer_json(answer, named), indent=2))
    else:
        print(answer_table(answer, sizes=filters.of_sizes or options.sort != "distance"))
        if options.html is not None:
            print(f"page: {options.html}")
    return 0


def _many(options: argparse.Namespace, folder: Path, searcher: Searcher, filters: Filters) -> int:
    from tqdm import tqdm

    from batchot.search.batch import queries_in, search_many
    from batchot.search.records import printable
    from batchot.shapes.views.cache import listed

    files = queries_in(folder, options.csv)
    with tqdm(total=len(files), desc="queries", unit="file", disable=not sys.stderr.isatty()) as bar:
        how = {"k": options.k, "filters": filters, "kind": options.kind, "up": options.up}
        failures = search_many(searcher, folder, options.csv, **how, files=files, done=bar.update)
    print(f"{options.csv}: {len(files) - len(failures):,} of {len(files):,} files looked up")
    if failures:
        print("\n".join(listed(f"{len(failures):,} could not be taken:", [printable(f) for f in failures])))
    return 1 if failures else 0


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
