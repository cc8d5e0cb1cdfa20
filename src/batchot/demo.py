"""`make demo`: scikit-learn's handwritten digits, trained with the transport loss and with the contrastive loss."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path


def main() -> None:
    """Train both, print their scores side by side and say where the pictures lie."""
    parser = argparse.ArgumentParser(prog="batchot.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for both runs, made anew")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    print(
        "Two small networks learn 1,297 handwritten digits; each of 500 others then looks for its own kind.\n",
        flush=True,
    )
    # What follows imports torch, which takes a moment: the lines above are on the screen by then.
    from batchot.reporting.run import write_report
    from batchot.training import load_recipe, train

    started = time.perf_counter()
    finished = {}
    for loss in ("batch-ot", "contrastive"):
        folder = options.out / loss
        if (folder / "config.yaml").exists():  # the demo's own earlier run
            shutil.rmtree(folder)
        overrides = [("loss.name", loss), ("epochs", str(options.epochs)), ("seed", "0")]
        finished[loss] = train(load_recipe("digits", overrides), folder, device="cpu")
        write_report(finished[loss])
    epochs = range(1, options.epochs + 1)
    print("mAP after epoch   " + "".join(f"{epoch:>7}" for epoch in epochs) + "     NN   accuracy")
    widths = [7] * len(epochs) + [7, 11]
    for loss, run in finished.items():
        last = run.rows[-1]
        scores = [row.map for row in run.rows] + [last.nn, last.accuracy]
        print(
            f"{loss:<18}"
            + "".join(f"{100 * (score or 0.0):>{w}.1f}" for score, w in zip(scores, widths, strict=True))
        )
    print(
        f"\nin {time.perf_counter() - started:.0f} seconds. In {options.out}/batch-ot and {options.out}/contrastive lie"
    )
    print("  report.html               all of it on one page")
    print("  figures/curves.png        loss and scores by epoch")
    print("  figures/embedding.png     the test digits as points, coloured by class")
    print("  figures/retrieved.png     what some queries found, the wrong ones marked")
    print("\nNext: batchot train mnist --epochs 1   (downloads MNIST, or finds it under --data-root)")


if __name__ == "__main__":
    main()
