"""`make demo`: the built-in shapes, rendered, recognised and retrieved; nothing is downloaded."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path


def main() -> None:
    """Generate the library, render it, train a recogniser, print its scores and say where the page lies."""
    parser = argparse.ArgumentParser(prog="batchot.demo", description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="made anew each time")
    options = parser.parse_args()
    print(
        "A network learns 25 classes of made-up things, each seen from 12 sides; "
        "then every test shape looks for its own kind.\n"
        "The first run compiles the renderer and draws 18,000 pictures; later ones find them in the cache.\n",
        flush=True,
    )
    # What follows imports torch, which takes a moment: the lines above are on the screen by then.
    from batchot.commands.train import epoch_line
    from batchot.reporting.run import write_report
    from batchot.training import load_recipe, train
    from batchot.training.run import Messages

    started = time.perf_counter()
    if (options.out / "config.yaml").is_file():
        shutil.rmtree(options.out)
    recipe = load_recipe("shapes", [("epochs", str(options.epochs))])
    messages = Messages(note=lambda text: print(text, flush=True), epoch=epoch_line(options.out), bar=True)
    run = train(recipe, options.out, device="cpu", command="make demo", messages=messages)
    write_report(run)
    print(f"\nin {time.perf_counter() - started:.0f} seconds. Look at")
    print(f"  {run.folder.report.resolve()}")
    print(
        "for the scores by epoch, what is confused with what, what test shapes found, and the transport plan."
    )
    print("\nNext, with meshes of your own in FOLDER/CLASS/: batchot train folder --data-root FOLDER")
    print("To search among them: batchot index build RUN FOLDER --out INDEX, then batchot serve INDEX")


if __name__ == "__main__":
    main()
