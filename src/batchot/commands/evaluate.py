"""``batchot evaluate``: measure a trained run."""

from __future__ import annotations

from pathlib import Path

from batchot.commands.common import Parser, add, data_root_of


def evaluate(argv: list[str]) -> int:
    parser = Parser(prog="batchot evaluate", description="Measure a trained run on the test samples.")
    add(parser, "run")
    parser.add_argument("--data-root", type=Path, help="where the data lies (default: as in training)")
    add(parser, "--checkpoint")
    add(parser, "--device")
    options = parser.parse_args(argv)

    from batchot.training.evaluate import evaluate

    for name, value in evaluate(
        options.run,
        data_root=options.data_root or data_root_of(options.run),
        device=options.device,
        checkpoint=options.checkpoint,
    ):
        print(f"{name:28} {value}")
    return 0
