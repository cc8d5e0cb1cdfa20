"""`make demo`: scikit-learn's handwritten digits, trained with the transport loss and with the contrastive loss."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path


def main() -> None:
    """Train both, print their scores side by side and say where the pictures lie."""
    parser = argparse.ArgumentParser(prog="batchot.demo", description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    out = Path("runs/demo")  # the demo's own: made anew each time
    print(
        "Two small networks learn 1,297 handwritten digits; each of 500 others then looks for its own kind.\n",
        flush=True,
    )
    # What follows imports torch, which takes a moment: the lines above are on the screen by then.
    from batchot.reporting.run import write_report
    from batchot.training import load_recipe, train
    from batchot.training.run import Messages

    started = time.perf_counter()
    epochs = range(1, options.epochs + 1)
    print("mAP after epoch   " + "".join(f"{epoch:>7}" for epoch in epochs) + "     NN   accuracy")
    show = Messages(epoch=lambda row: print(f"{100 * (row.map or 0.0):>7.1f}", end="", flush=True))
    for loss in ("batch-ot", "contrastive"):
        folder = out / loss
        if folder.exists():
            shutil.rmtree(folder)
        overrides = [("loss.name", loss), ("epochs", str(options.epochs)), ("seed", "0")]
        print(f"{loss:<18}", end="", flush=True)
        run = train(load_recipe("digits", overrides), folder, device="cpu", messages=show)
        last = run.rows[-1]
        print(f"{100 * (last.nn or 0.0):>7.1f}{100 * (last.accuracy or 0.0):>11.1f}", flush=True)
        write_report(run)
    print(f"\nin {time.perf_counter() - started:.0f} seconds. In {out}/batch-ot and {out}/contrastive lie")
    print("  report.html               all of it on one page")
    print("  figures/curves.png        loss and scores by epoch")
    print("  figures/embedding.png     the test digits as points, coloured by class")
    print("  figures/retrieved.png     what some queries found, the wrong ones marked")
    print("\nNext: batchot train mnist --epochs 1   (downloads MNIST, or finds it under --data-root)")


if __name__ == "__main__":
    main()
