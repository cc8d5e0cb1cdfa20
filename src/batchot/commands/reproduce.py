"""``batchot reproduce``: the benchmarks of the paper in one table."""

from __future__ import annotations

from pathlib import Path

from batchot.commands.common import Parser, UsageError, add, guarded, say


def reproduce(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot reproduce",
        description="Show the six benchmarks of the paper: its figures, what was reached here, the settings, and "
        "how to run each. With --run, train those whose data is here and which were not run; the same command goes on "
        "after an interruption.",
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help="a benchmark such as CIFAR-10, or one recipe such as cifar10-long (default: all)",
    )
    parser.add_argument("--run", action="store_true", help="train what was not run; hours without a GPU")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 (default: 1)")
    parser.add_argument(
        "--data-root", type=Path, help="folder with the data sets (default: $BATCHOT_DATA, else the cache)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/reproduce"),
        help="folder of the runs (default: runs/reproduce)",
    )
    add(parser, "--device")
    options = parser.parse_args(argv)
    if options.seeds < 1:
        raise UsageError(f"--seeds: {options.seeds} is not allowed; it must be >= 1")
    from batchot.benchmark.reproduce import chosen_rows, markdown_table, missing_data, reproduced, run_row

    rows = chosen_rows(options.benchmarks)
    seeds = range(options.seeds)

    def work() -> int:
        if options.run:
            for seed in seeds:
                for row in rows:
                    if missing_data(row.made(0), options.data_root) is None:
                        say(row.command(seed, options.out, options.data_root))
                        run_row(row, seed, options.out, options.data_root, options.device, say)
        found = [reproduced(row, seeds, options.out, options.data_root) for row in rows]
        print(markdown_table(found, options.out, options.data_root))
        return 0

    return guarded(work, "the same command goes on")
