"""``batchot index``: make an index of shapes, change one, say what it holds, test it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.commands.common import (
    ENGINE,
    Parser,
    UsageError,
    add,
    check_engine,
    checked_tolerance,
    engine_of,
    guarded,
    say,
)

if TYPE_CHECKING:
    from batchot.search.build import Indexing
    from batchot.search.indexing import Indexed

_GO_ON = "what was stored is kept: type the same command again to go on"


def index(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot index",
        description="Make an index of shapes with a trained run, so that batchot search and batchot serve find them.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    _add_build(actions)
    _add_add(actions)
    _add_remove(actions)
    for name, text, work in (
        ("info", "say what an index holds", _info),
        ("verify", "read all of an index and test it", _verify),
        ("map", "lay the map of an index out anew", _map),
        ("duplicates", "find what is in an index more than once", _duplicates),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        action.set_defaults(work=work, resume="")
        add(action, "index")
        add(action, "--allow-store")
        if name in ("info", "duplicates"):
            action.add_argument("--json", action="store_true", help="print it as JSON")
        if name == "duplicates":
            action.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each shape")
            action.add_argument(
                "--threshold",
                type=float,
                metavar="T",
                help="how far apart embeddings of nearly the same shapes are (a tenth of the median distance)",
            )
    options = parser.parse_args(argv)
    if options.resume:
        check_engine(options)
    return guarded(lambda: int(options.work(options)), options.resume)


def _add_build(actions: argparse._SubParsersAction[Parser]) -> None:
    build = actions.add_parser(
        "build",
        help="make an index, or bring one up to date",
        description="Embed every shape of a folder and put it into an index. Shapes that are in it and have not "
        "changed are passed over, so that the same command goes on after an interruption. "
        "Exit status 1 says that some shapes could not be read.",
    )
    build.set_defaults(work=_build, resume=_GO_ON)
    build.add_argument("run", type=Path, metavar="RUN", help="run folder of batchot train or batchot export")
    build.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of shapes, CLASS/FILE or just FILE"
    )
    build.add_argument("--out", type=Path, required=True, metavar="INDEX", help="folder of the index")
    build.add_argument(
        "--store",
        metavar="URI",
        help="where the shapes are stored: s3://, gs:// or az://bucket/path, or db://name for LanceDB Cloud "
        "(default: in the folder of the index)",
    )
    _add_common(build)


def _add_add(actions: argparse._SubParsersAction[Parser]) -> None:
    further = actions.add_parser(
        "add",
        help="put further shapes into an index",
        description="Put a shape, or the shapes of a further folder, into an index.",
    )
    further.set_defaults(work=_add, resume=_GO_ON)
    add(further, "index")
    further.add_argument("path", type=Path, metavar="PATH", help="a shape or a folder of them")
    further.add_argument(
        "--class", dest="class_name", metavar="NAME", help="their class (default: their folders')"
    )
    _add_common(further)


def _add_common(action: Parser) -> None:
    add(
        action,
        "--up",
        help="the axis that points up (what the folder has in the index, else what the formats say)",
    )
    add(action, "--parts", "--tolerance")
    action.add_argument(
        "--prune", action="store_true", help="take out shapes of the folder whose files are gone"
    )
    add(action, "--processes")
    add(action, "--allow-store")
    add(action, *ENGINE)
    add(action, "--device")


def _add_remove(actions: argparse._SubParsersAction[Parser]) -> None:
    remove = actions.add_parser(
        "remove",
        help="take shapes out of an index",
        description="Take shapes out of an index; their files stay where they are.",
    )
    remove.set_defaults(work=_remove, resume="")
    add(remove, "index")
    remove.add_argument("names", nargs="*", metavar="NAME", help="names or patterns, such as 'chair/*'")
    remove.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME", help="all of a class"
    )
    remove.add_argument("--folder", dest="folders", action="append", default=[], help="all below a folder")
    add(remove, "--allow-store")


def _build(options: argparse.Namespace) -> int:
    from batchot.search.build import build_index

    with _how(options) as how:
        found = build_index(options.run, options.folder, options.out, store=options.store, how=how)
    return _told(found, options.out, options.prune)


def _add(options: argparse.Namespace) -> int:
    from batchot.search.build import add_to_index

    with _how(options) as how:
        found = add_to_index(options.index, options.path, class_name=options.class_name, how=how)
    return _told(found, options.index, options.prune)


@contextmanager
def _how(options: argparse.Namespace) -> Iterator[Indexing]:
    from batchot.search.build import Indexing, Progress

    if options.processes is not None and options.processes < 1:
        raise UsageError(f"--processes must be at least 1, got {options.processes}")
    progress = Progress(sys.stderr.isatty(), say)
    with engine_of(options) as engine:
        o, tolerance = options, checked_tolerance(options)
        read = (o.up, o.parts, tolerance, o.prune, o.processes, o.device)
        yield Indexing(*read, progress, engine, o.allow_store)


def _remove(options: argparse.Namespace) -> int:
    from batchot.search.build import Progress, remove_from_index

    if not (options.names or options.classes or options.folders):
        raise UsageError("say what to remove: names, --class or --folder")
    count = remove_from_index(
        options.index,
        options.names,
        classes=tuple(options.classes),
        folders=tuple(options.folders),
        progress=Progress(tell=say),
        allow_store=options.allow_store,
    )
    print(f"{count:,} shapes removed from {options.index}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from batchot.search.about import describe, describe_in_words
    from batchot.search.records import printable

    if options.json:
        import json

        print(json.dumps(describe(options.index, allow_store=options.allow_store), indent=2))
    else:
        for line in describe_in_words(options.index, allow_store=options.allow_store).splitlines():
            print(printable(line))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from batchot.search.about import problems_of
    from batchot.search.records import printable

    problems = problems_of(options.index, allow_store=options.allow_store)
    for problem in problems:
        print(printable(problem))
    if problems:
        print(
            f"{len(problems):,} problems; batchot index build with the same run and folder mends what it can"
        )
        return 1
    print(f"{options.index} is sound")
    return 0


def _map(options: argparse.Namespace) -> int:
    from batchot.search.build import lay_out_index

    points = lay_out_index(options.index, allow_store=options.allow_store)
    print(f"{options.index}: a map of {len(points.ids):,} shapes")
    return 0


def _duplicates(options: argparse.Namespace) -> int:
    from batchot.files import write_csv
    from batchot.search.about import duplicates
    from batchot.search.records import cell, printable

    try:
        groups = duplicates(options.index, threshold=options.threshold, allow_store=options.allow_store)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.csv is not None:
        rows = [
            {"group": number, "what": group.what, "distance": round(group.distance, 6), "name": cell(name)}
            for number, group in enumerate(groups, 1)
            for name in group.names
        ]
        write_csv(options.csv, rows, ("group", "what", "distance", "name"))
    if options.json:
        import json

        print(json.dumps([vars(group) for group in groups], indent=2))
        return 0
    for group in groups:
        apart = f", at most {group.distance:.4f} apart" if group.what == "nearly the same" else ""
        print(f"{group.what}{apart}:")
        print("\n".join(f"  {printable(name)}" for name in group.names))
    more = sum(len(group.names) - 1 for group in groups)
    print(f"{options.index}: {len(groups):,} groups, {more:,} shapes that another one stands for")
    return 0


def _told(found: Indexed, out: Path, pruned: bool) -> int:
    from batchot.search.manifest import IndexFolder
    from batchot.search.records import printable
    from batchot.shapes.views.cache import listed

    print(
        f"{out}: {found.added:,} shapes added, {found.changed:,} changed, {found.unchanged:,} as they were"
        + (f", {len(found.gone):,} removed" if pruned and found.gone else "")
    )
    if found.measured:
        print(f"{found.measured:,} shapes got their sizes, which the index did not have")
    if found.gone and not pruned:
        print(f"{len(found.gone):,} shapes are in the index whose files are gone; --prune takes them out")
    if found.notes:
        print("\n".join(listed(f"{len(found.notes):,} remarks:", found.notes)))
    if found.failures:
        reasons = [printable(reason) for reason in found.failures]
        print("\n".join(listed(f"{len(reasons):,} could not be read:", reasons)))
        print(f"all of them: {IndexFolder(out).unreadable}")
    return 1 if found.failures else 0
