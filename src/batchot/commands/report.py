"""``batchot report``: figures and page of a run, made again."""

from __future__ import annotations

from batchot.commands.common import Parser, add


def report(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot report",
        description="Make figures and report.html of a finished run again, from what its folder holds; "
        "the data is not needed.",
    )
    add(parser, "run")
    options = parser.parse_args(argv)

    from batchot.reporting.run import rebuild_report

    folder = rebuild_report(options.run)
    print(f"report: {folder.report}")
    return 0
