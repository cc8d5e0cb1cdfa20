"""``batchot embed``: the embeddings of a user's shapes or drawings."""

from __future__ import annotations

import sys
from pathlib import Path

from batchot.commands.common import ENGINE, Parser, UsageError, add, check_engine, engine_of, say


def embed(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot embed",
        description="Embed shapes with a trained run, and say of each which class its classifier reads off. "
        "The file holds names, embeddings, predictions and probabilities. "
        "Exit status 1 says that some shapes were left out.",
    )
    add(parser, "run")
    parser.add_argument("path", type=Path, metavar="PATH", help="a shape or a drawing, or a folder of them")
    parser.add_argument(
        "--out", type=Path, default=Path("embeddings.npz"), help=".npz (default) or .csv file"
    )
    add(parser, "--up")
    parser.add_argument(
        "--tower", help="which tower of a cross-modal run, such as sketch (default: that of the targets)"
    )
    add(parser, *ENGINE)
    add(parser, "--device")
    options = parser.parse_args(argv)
    check_engine(options)
    if options.out.suffix not in (".npz", ".csv"):
        raise UsageError(f"--out {options.out}: the ending must be .npz or .csv")

    from batchot.training.embed import embed_files
    from batchot.training.recipes import recipe_of

    if options.tower is not None and len(recipe_of(options.run).parts) == 1:
        raise UsageError(f"--tower: {options.run} is the run of a single network and has no towers")
    with engine_of(options) as engine:
        found, count = embed_files(
            options.run,
            options.path,
            tower=options.tower,
            up=options.up,
            device=options.device,
            tell=say,
            progress=sys.stderr.isatty(),
            engine=engine,
        )
    found.save(options.out)
    for name, label, share in zip(found.names[:10], found.predictions, found.probabilities, strict=False):
        print(f"{name}: {label} ({100 * share:.0f} %)")
    if len(found.names) > 10 and found.predictions:
        print(f"and {len(found.names) - 10:,} more")
    left_out = count - len(found.names)
    print(f"{len(found.names):,} embeddings of {found.embeddings.shape[1]} dimensions: {options.out}")
    if left_out:
        print(f"{left_out:,} of {count:,} were left out")
    return 1 if left_out else 0
