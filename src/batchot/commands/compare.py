"""``batchot compare``: one recipe with one loss after another, at equal terms."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from batchot.commands.common import Parser, UsageError, add, guarded, recipe_named, say
from batchot.workers.process import usable_cores

_EPILOG = """a loss is a loss.name of `batchot train --help`, with a preset or settings of its own after a colon:
  batch-ot   uniform   supcon   batch-ot:paper   batch-ot:lam=3,gamma=1   supcon:options.temperature=0.2
  cross-entropy is the classifier without a metric loss.
presets of batch-ot: paper, author-code, author-code-shrec, author-code-modelnet40, author-code-modelnet10

example:
  batchot compare mnist --data-root D --seeds 3 --trials 4 --tune epochs=1"""


def _parser() -> Parser:
    parser = Parser(
        prog="batchot compare",
        usage="batchot compare RECIPE [SETTING=VALUE ...] [--losses LOSS ...] [--seeds N] [--trials K] [--out R] ...",
        description="Train a recipe with one loss after another: the same network, data, sampler, batch and epochs. "
        "Settings of each loss are tuned with the same budget on a part of the training set, then each is trained "
        "with fresh seeds and measured on the test set. Writes results.json, results.csv, results.md and "
        "report.html; the same command goes on after an interruption, and more losses, seeds or trials add to what "
        "is there.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", help="name of a recipe; folder, as in `batchot train`; or a YAML file"
    )
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="settings for all losses")
    parser.add_argument("--losses", nargs="+", metavar="LOSS", help="the first is set against the others")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 1 to N (default: 3)")
    text = "settings tried for each loss (default: 8; 0: none)"
    parser.add_argument("--trials", type=int, default=8, metavar="K", help=text)
    parser.add_argument("--epochs", type=int, help="short for epochs=N")
    parser.add_argument(
        "--tune", nargs="+", default=[], metavar="SETTING=VALUE", help="settings of the tuning runs alone"
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, help="share of the training set to tune on (default: 0.1)"
    )
    parser.add_argument(
        "--joint", action="store_true", help="keep the cross-entropy of the recipe beside each loss"
    )
    parser.add_argument("--target", type=float, help="mAP in %% whose first epoch is looked for")
    add(parser, "--data-root")
    parser.add_argument("--out", type=Path, help="folder of the comparison (default: runs/compare-RECIPE)")
    add(parser, "--device")
    parser.add_argument("--processes", type=int, help="runs at once (default: one a core, one with a GPU)")
    parser.add_argument("--keep", action="store_true", help="keep the trained networks")
    return parser


def compare(argv: list[str]) -> int:
    options = _parser().parse_intermixed_args(argv)
    overrides = [_setting(text) for text in options.settings]
    if options.epochs is not None:
        overrides.append(("epochs", str(options.epochs)))
    if options.seeds < 1:
        raise UsageError(f"--seeds: {options.seeds} is not allowed; it must be >= 1")
    if options.target is not None and not 0 < options.target <= 100:
        raise UsageError(f"--target: {options.target} is not allowed; it is a mAP in percent")
    out = options.out or Path("runs") / f"compare-{Path(options.recipe).stem}"
    command = shlex.join(["batchot", "compare", *argv])
    from batchot.benchmark.compare import Comparison

    processes = _processes(options.device) if options.processes is None else options.processes
    comparison = Comparison(
        recipe_named(options.recipe, options.data_root),
        tuple(overrides),
        seeds=tuple(range(1, options.seeds + 1)),
        trials=options.trials,
        validation=options.validation,
        tuning=tuple(_setting(text) for text in options.tune),
        joint=options.joint,
        data_root=options.data_root,
        device=options.device,
        processes=processes,
        threads=max(1, usable_cores() // max(1, processes)),
        keep=options.keep,
        command=command,
        **({"losses": tuple(options.losses)} if options.losses else {}),
    )

    def work() -> int:
        from batchot.benchmark.compare import compare
        from batchot.benchmark.page import make_comparison_page
        from batchot.benchmark.results import markdown, write_results
        from batchot.files import write_text

        compared = compare(comparison, out, say)
        target = None if options.target is None else options.target / 100
        values = write_results(compared, out, target)
        write_text(out / "report.html", make_comparison_page(compared, values))
        print(
            f"\n{markdown(compared, target)}\nresults: {out / 'results.json'}\nreport: {out / 'report.html'}"
        )
        return 0

    return guarded(work, f"the same command goes on with {out}")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no SETTING=VALUE")
    return name, value


def _processes(device: str) -> int:
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            return 1
    return usable_cores()
