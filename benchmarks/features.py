"""How fast features are kept, and how fast an epoch on kept features is.

    python benchmarks/features.py --shapes 1000

Features of shapes (12 views of 128 x 128) by efficientnet-lite0 into an empty cache: with one core, with all of them,
and the bare network on one core, the same pictures in the same batches, nothing read or written. Then one epoch of
`shape-folder` on 10,000 kept features, loss, optimiser and measures of 1,000 more included.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from datetime import UTC, datetime

import torch

from batchot import BatchOTLoss, retrieval_scores
from batchot.data import Normalization, Preparation
from batchot.data.samples import Images
from batchot.device import reuse_large_blocks
from batchot.models import MetricNet
from batchot.models.backbones import make_backbone
from batchot.towers.features import Extractor, for_inference, identity_of, keep_features
from batchot.towers.tower import channels_last

VIEWS, SIZE, AT_ONCE = 12, 128, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=1000)
    count, cores = parser.parse_args().shapes * VIEWS, torch.get_num_threads()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {cores} threads, {count:,} pictures")
    reuse_large_blocks()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    pictures = Images(pixels, torch.zeros(count, dtype=torch.int64), ("any",))
    network = for_inference(make_backbone("efficientnet-lite0", in_channels=1, pretrained="package"))
    prepare = Preparation(Normalization((0.5,), (0.5,)))
    extractor = Extractor(
        lambda x: network(channels_last(x)).unsqueeze(1), lambda x: x.flip(-1), prepare, torch.device("cpu"),
        identity_of(network, "benchmark"),
    )  # fmt: skip

    def kept(threads: int) -> float:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            start = time.perf_counter()
            keep_features(extractor, pictures, mirrored=False)
            return time.perf_counter() - start

    def bare() -> float:
        torch.set_num_threads(1)
        batches = [channels_last(prepare(part)) for part in pixels[: 8 * AT_ONCE].split(AT_ONCE)]
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(max(1, count // (8 * AT_ONCE))):
                for batch in batches:
                    network(batch)
        return (time.perf_counter() - start) * count / (max(1, count // (8 * AT_ONCE)) * 8 * AT_ONCE)

    one, forward, many = kept(1), bare(), kept(cores)
    print(f"one core: {count / one:.1f} pictures/s, {100 * forward / one:.0f} % of the bare network")
    print(f"{cores} cores: {count / many:.1f} pictures/s, {one / many:.2f} times as many as one core")
    torch.set_num_threads(cores)
    print(f"an epoch on 10,000 kept features: {epoch(generator):.2f} s")


def epoch(generator: torch.Generator) -> float:
    """Seconds of an epoch, batches of 64, and of the measures of 1,000 test features."""
    features = torch.randn(11_000, 2560, generator=generator).half()
    labels = torch.randint(0, 40, (11_000,), generator=generator)
    network, loss_of = MetricNet(2560, (512, 256), "relu", True, 0.0), BatchOTLoss(lam=1.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    loss_of(
        network(features[:64].float()), labels[:64]
    ).backward()  # loops are compiled before the clock runs
    start = time.perf_counter()
    for rows in torch.randperm(10_000, generator=generator).split(64)[:-1]:
        optimizer.zero_grad()
        loss_of(network(features[rows].float()), labels[rows]).backward()
        optimizer.step()
    network.eval()
    with torch.inference_mode():
        retrieval_scores(network(features[10_000:].float()), labels[10_000:], distance="cosine")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
