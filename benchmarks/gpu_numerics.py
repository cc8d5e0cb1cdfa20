"""What was counted before the GPU kernels were written: steps by acceleration, and the error of TF32 products.

    python benchmarks/gpu_numerics.py               # both, about two minutes
    python benchmarks/gpu_numerics.py --steps
    python benchmarks/gpu_numerics.py --precision

Steps: of the half step x <- x + (log a - log(u K u)) / 2 of a batch against itself, in float64, until the marginal
error is 1e-6, by how many past differences Anderson's acceleration combines (0: none). 400: it was not done then.
Precision: loss and gradient where every product is three TF32 products (x = high + low; low * low is left out), added
eight at a time and rounded toward zero in between, which is a cautious model of a tensor core; against float64.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from batchot import sinkhorn

MEMORIES = (0, 1, 2, 4, 8)
LIMIT = 400


def embeddings(n: int, d: int, classes: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one centre a class, and their labels."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, d))
    labels = generator.integers(0, classes, n)
    x = centres[labels] + spread * generator.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def hinge(x: np.ndarray, G: np.ndarray, same: np.ndarray) -> np.ndarray:
    square = (x * x).sum(1)
    d2 = np.maximum(square[:, None] + square - 2.0 * G, 0.0)
    return np.maximum(np.where(same, d2, 1.0 - d2), 0.0)


def steps(K: np.ndarray, memory: int) -> int:
    n = len(K)
    x = np.zeros(n)
    images: list[np.ndarray] = []
    residuals: list[np.ndarray] = []
    for step in range(LIMIT):
        mass = np.exp(x) * (K @ np.exp(x))
        if 2.0 * np.abs(mass - 1.0 / n).sum() <= 1e-6:
            return step + 1
        r = -0.5 * np.log(n * mass)
        g = x + r
        if step > 0 and memory:  # the first residual only finds the total mass
            images, residuals = [*images, g][-memory - 1 :], [*residuals, r][-memory - 1 :]
        x = g
        if len(residuals) > 1:
            dR = residuals[-1] - np.array(residuals[:-1])
            A = dR @ dR.T
            A += (1e-12 * np.trace(A) + 1e-10 * r @ r) * np.eye(len(A))
            x = g - np.linalg.solve(A, dR @ r) @ (images[-1] - np.array(images[:-1]))
    return LIMIT


def count_steps() -> None:
    print(
        f"steps by differences combined {MEMORIES}\n{'n':>5} {'classes':>7} {'spread':>6} {'lam':>4} {'gamma':>5}"
    )
    for lam, gamma in ((5, 3), (20, 3), (20, 10), (40, 10)):
        for n in (64, 256, 1024):
            for classes, spread in ((10, 3.0), (10, 0.3), (n // 4, 0.1), (n // 2, 1.0)):
                x, labels = embeddings(n, 32, classes, spread, 0)
                K = np.exp(-lam * np.exp(-gamma * hinge(x, x @ x.T, labels[:, None] == labels)))
                np.fill_diagonal(K, 0.0)
                counts = " ".join(f"{steps(K, memory):>4}" for memory in MEMORIES)
                print(f"{n:>5} {classes:>7} {spread:>6} {lam:>4} {gamma:>5}  {counts}", flush=True)


def high_part(x: np.ndarray) -> np.ndarray:
    """x rounded to the 10 bits of TF32's fraction."""
    bits = x.astype(np.float32).view(np.uint32) + np.uint32(0x1000)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def toward_zero(exact: np.ndarray) -> np.ndarray:
    nearest = exact.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(exact), np.nextafter(nearest, np.float32(0.0)), nearest)


def three_products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y^T as the kernels compute it."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    x_high, y_high = high_part(x), high_part(y)
    x_low, y_low = high_part(x - x_high), high_part(y - y_high)
    total = np.zeros((len(x), len(y)), np.float32)
    for first in range(0, x.shape[1], 8):
        k = slice(first, first + 8)
        for a, b in ((x_low, y_high), (x_high, y_low), (x_high, y_high)):
            total = toward_zero(total + a[:, k].astype(np.float64) @ b[:, k].astype(np.float64).T)
    return total


def loss_and_gradient(
    x: np.ndarray, labels: np.ndarray, lam: float, gamma: float, in_tf32: bool
) -> tuple[float, np.ndarray]:
    same = labels[:, None] == labels
    M = hinge(x, three_products(x, x).astype(np.float64) if in_tf32 else x @ x.T, same)
    itself = torch.eye(len(x), dtype=torch.bool)
    T = sinkhorn(torch.from_numpy(np.exp(-gamma * M)), lam, mask=itself, tolerance=1e-10).coupling.numpy()
    W = np.where(M > 0.0, np.where(same, T, -T), 0.0)
    if in_tf32:
        WX = np.zeros(x.shape, np.float32)
        for first in range(0, len(x), 64):  # tiles are added in float32
            WX = WX + three_products(W[:, first : first + 64], x[first : first + 64].T)
    else:
        WX = W @ x
    return 0.5 * float((T * M).sum()), W.sum(1, keepdims=True) * x - WX


def measure_precision() -> None:
    print("relative error of the loss, and of the gradient to its largest entry, n = 512")
    for d in (128, 512):
        x, labels = embeddings(512, d, 20, 1.0, 1)
        x = x.astype(np.float32).astype(np.float64)
        for lam, gamma in ((5, 3), (20, 3), (20, 10)):
            loss, grad = loss_and_gradient(x, labels, lam, gamma, in_tf32=False)
            found_loss, found = loss_and_gradient(x, labels, lam, gamma, in_tf32=True)
            error = np.abs(found - grad).max() / np.abs(grad).max()
            print(
                f"d = {d}, lam = {lam}, gamma = {gamma}: {abs(found_loss / loss - 1):.1e} {error:.1e}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--precision", action="store_true")
    options = parser.parse_args()
    if options.steps or not options.precision:
        count_steps()
    if options.precision or not options.steps:
        measure_precision()


if __name__ == "__main__":
    main()
