"""What kept results of `batchot compare` say to the three claims about the transport, as a Markdown table.

    python benchmarks/claims.py benchmarks/results/compare-mnist.csv ...

A loss leads where the 95 % interval of the difference, paired by seed, lies above 0 (bold); it is behind where it lies
below.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from batchot.benchmark.results import Interval, mean_interval, paired_difference

OURS = ("batch-ot", "batch-ot:anchors=0.5")
EPOCHS = (1, 2, 5)
Curves = dict[str, dict[int, dict[int, float]]]  # mAP in percent by loss, epoch and seed


def read(path: Path) -> Curves:
    """Read the lines of results.csv."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            loss = row["loss"].removesuffix(":anchors=0")  # said where the recipe has anchors of its own
            curves[loss][int(row["epoch"])][int(row["seed"])] = 100 * float(row["map"])
    return curves


def shown(interval: Interval | None) -> str:
    """Write a difference; bold where it is above chance."""
    if interval is None or interval.half is None:
        return "-"
    text = f"{interval.mean:+.2f} ± {interval.half:.2f}"
    return f"**{text}**" if interval.sign > 0 else text


def led(curves: Curves, ours: str, epoch: int) -> str:
    """Say how many peers a loss leads at an epoch, and which not."""
    peers = [loss for loss in curves if not loss.startswith(("batch-ot", "uniform"))]
    leads = {loss: paired_difference(curves[ours][epoch], curves[loss][epoch]) for loss in peers}
    left = [loss for loss, lead in leads.items() if lead is None or lead.sign <= 0]
    behind = [loss for loss, lead in leads.items() if lead is not None and lead.sign < 0]
    text = f"{len(peers) - len(left)} of {len(peers)}"
    if left and len(left) <= 3:
        text += f" (not {', '.join(left)})"
    return text + (f"; behind {', '.join(behind)}" if behind else "")


def reached(curves: Curves, ours: str) -> str:
    """Say at which epoch a loss has the mAP that the best peer ends with."""
    peers = [loss for loss in curves if not loss.startswith(("batch-ot", "uniform"))]
    last = max(curves[ours])
    mean = {loss: mean_interval(list(curves[loss][last].values())).mean for loss in peers}
    best = max(peers, key=mean.__getitem__)
    when = [
        e for e in sorted(curves[ours]) if mean_interval(list(curves[ours][e].values())).mean >= mean[best]
    ]
    return f"{best} {mean[best]:.2f}: {f'epoch {when[0]} of {last}' if when else 'not reached'}"


def main() -> None:
    """Print the table."""
    heads = [f"peers led at epoch {e}" for e in EPOCHS] + [f"over uniform, epoch {e}" for e in EPOCHS]
    heads = ["", "loss", *heads, "best peer's last mAP"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for path in map(Path, sys.argv[1:]):
        curves = read(path)
        for ours in OURS:
            cells = [led(curves, ours, epoch) for epoch in EPOCHS]
            cells += [shown(paired_difference(curves[ours][e], curves["uniform"][e])) for e in EPOCHS]
            cells.append(reached(curves, ours))
            print(f"| {path.stem.removeprefix('compare-')} | {ours} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
