"""Where the loss meets PyTorch and the machine: compiled, transformed, in several processes, on a cold start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from batchot import (
    BatchOTLoss,
    CrossModalBatchOTLoss,
    DistributedLoss,
    batch_ot_loss,
    classification_scores,
    retrieval_scores,
)
from batchot.ranks import on_first
from process_group import run_in_group


def batch(n: int = 20, m: int = 15) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 8, generator=generator), torch.randn(m, 8, generator=generator)
    return x, torch.arange(n) % 4, y, torch.arange(m) % 5


def value_and_gradients(step: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    value = step(*leaves)
    value.backward()
    return [value.detach(), *(x.grad for x in leaves if x.grad is not None)]


# ---- torch.compile


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("options", [{}, {"normalize": False, "margin": 8.0}, {"plan": "uniform"}], ids=str)
def test_compiled_as_one_graph_it_has_the_eager_value(backend: str, options: dict[str, Any]) -> None:
    x, lx, y, ly = batch()
    loss = BatchOTLoss(**options)
    for step, inputs in (
        (lambda x, lx: loss(2 * x, lx), (x, lx)),
        (lambda x, lx, y, ly: loss(x, lx, None, y, ly), (x, lx, y, ly)),
    ):
        torch._dynamo.reset()
        compiled = torch.compile(step, backend=backend, fullgraph=True)
        for got, wanted in zip(
            value_and_gradients(compiled, *inputs), value_and_gradients(step, *inputs), strict=True
        ):
            assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (BatchOTLoss(), torch.float64),
        (BatchOTLoss(grad="implicit"), torch.float32),
        (BatchOTLoss(distance=torch.cdist), torch.float32),
        (BatchOTLoss(num_classes=4, embedding_size=8), torch.float32),
        (DistributedLoss(BatchOTLoss()), torch.float32),
    ],
    ids=["double", "implicit", "distance", "anchors", "distributed"],
)
def test_what_is_no_single_graph_has_the_eager_value_too(loss: nn.Module, kind: torch.dtype) -> None:
    x, labels, _, _ = batch()
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, labels: loss(x, labels), backend="eager")
    for got, wanted in zip(
        value_and_gradients(compiled, x.to(kind), labels),
        value_and_gradients(loss, x.to(kind), labels),
        strict=True,
    ):
        assert torch.allclose(got, wanted, atol=1e-7)


def test_compiled_cross_modal_loss() -> None:
    torch._dynamo.reset()
    loss = CrossModalBatchOTLoss()
    compiled = torch.compile(lambda *batches: loss(*batches), backend="eager")
    for got, wanted in zip(
        value_and_gradients(compiled, *batch()), value_and_gradients(loss, *batch()), strict=True
    ):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_compiled_it_refuses_nan_and_a_second_derivative() -> None:
    x, labels, _, _ = batch()
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: batch_ot_loss(x, labels), backend="eager", fullgraph=True)
    with pytest.raises(ValueError, match="NaN or infinite values in 20 of 20 rows"):
        compiled(x * float("nan"))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(compiled(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        gradient.norm().backward()


def test_the_registered_operator_keeps_the_rules() -> None:
    x, lx, y, ly = batch(9, 7)
    options = (1.0, 0.0, 3.0, 5.0, True, "transport", 1e-6, 1000, True)
    for second in ((None, None), (y.requires_grad_(), ly)):
        torch.library.opcheck(
            torch.ops.batchot.loss.default,
            (x.clone().requires_grad_(), second[0], lx, second[1], *options),
            test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
        )


# ---- torch.func


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_transforms_give_the_gradient(kind: torch.dtype) -> None:
    x, lx, y, ly = (z.to(kind) if z.is_floating_point() else z for z in batch())

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return batch_ot_loss(x, lx, None, y, ly)

    _, *wanted = value_and_gradients(loss, x, y)
    got = torch.func.grad(loss, argnums=(0, 1))(x, y)
    tangents = tuple(torch.randn_like(z) for z in (x, y))
    value, slope = torch.func.jvp(loss, (x, y), tangents)[:2]
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert value == loss(x, y)
    expected = torch.stack([(g * t).sum() for g, t in zip(wanted, tangents, strict=True)]).sum()
    assert torch.allclose(slope, expected, rtol=1e-5)
    exact = torch.func.grad(loss)(x.double(), y.double())
    assert (got[0] - exact).norm() <= 1e-5 * exact.norm()


def test_transforms_of_a_cross_modal_loss() -> None:
    x, lx, y, ly = batch()
    loss = CrossModalBatchOTLoss()
    wanted = value_and_gradients(lambda x: loss(x, lx, y, ly), x)[1]
    assert torch.allclose(torch.func.grad(lambda x: loss(x, lx, y, ly))(x), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_second_derivative_is_an_error(kind: torch.dtype) -> None:
    x, lx, y, ly = batch()
    x = x.to(kind)
    for loss in (BatchOTLoss(), lambda x, lx: CrossModalBatchOTLoss()(x, lx, y.to(kind), ly)):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf, lx), leaf, create_graph=True)
        assert torch.equal(gradient, value_and_gradients(loss, x, lx)[1])
        with pytest.raises(RuntimeError, match="differentiated once"):
            (loss(leaf, lx) + gradient.norm()).backward()  # a penalty: without an error it would be left out

    def loss_of(x: Tensor) -> Tensor:
        return batch_ot_loss(x, lx)

    gradient_of = torch.func.grad(loss_of)
    for twice in (
        lambda: torch.func.grad(lambda x: gradient_of(x).norm())(x),
        lambda: torch.func.jvp(gradient_of, (x,), (x,)),
        lambda: torch.func.jvp(lambda x: torch.func.jvp(loss_of, (x,), (x,))[1], (x,), (x,)),
    ):
        with pytest.raises(RuntimeError, match="differentiated once"):
            twice()


def test_of_a_uniform_plan_there_is_a_second_derivative_in_float64() -> None:
    x, labels, _, _ = batch(6)
    loss = BatchOTLoss(plan="uniform", normalize=False, margin=8.0)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), x.double().requires_grad_())


# ---- the default device


def test_the_default_device_changes_nothing() -> None:
    """On the meta device nothing can be computed, so that every tensor made there by mistake is an error."""
    x, labels, y, ly = batch()
    anchored = BatchOTLoss(num_classes=5, embedding_size=8)

    def everything() -> list[Any]:
        return [
            batch_ot_loss(x, labels).item(),
            batch_ot_loss(x, labels, lam=60.0).item(),
            batch_ot_loss(x.double(), labels, grad="implicit").item(),
            batch_ot_loss(x, labels, None, y, ly).item(),
            anchored(x, labels).item(),
            CrossModalBatchOTLoss()(x, labels, y, ly).item(),
            retrieval_scores(x, labels),
            retrieval_scores(x, labels, y, ly, distance="cosine"),
            classification_scores(labels.roll(1), labels, 4),
        ]

    before = everything()
    try:
        torch.set_default_device("meta")
        after = everything()
        made_there = BatchOTLoss(num_classes=5, embedding_size=8).to_empty(device="cpu")
    finally:
        torch.set_default_device(None)
    assert str(before) == str(after)
    assert made_there is not None


# ---- several processes


def in_group() -> dict[str, Any]:
    rank = dist.get_rank()
    x, labels, _, _ = batch(24)
    part = slice(12 * rank, 12 * rank + 12)
    found: dict[str, Any] = {"half": scaled_half(DistributedLoss(BatchOTLoss()), x[part], labels[part])}
    for what, wrong in (("list", labels[part].tolist()), ("string", "labels"), ("none", None)):
        try:
            DistributedLoss(BatchOTLoss())(x[part], wrong if rank == 1 else labels[part])
            found[what] = "accepted"
        except Exception as error:
            found[what] = f"{type(error).__name__}: {error}"
    try:
        on_first(lambda: [][0])
    except Exception as error:
        found["on first"] = f"{type(error).__name__}: {error}"
    compiled = torch.compile(DistributedLoss(BatchOTLoss()), backend="eager")
    found["compiled"] = compiled(x[part], labels[part]).item()
    return found


def scaled_half(loss: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The gradient that a GradScaler's scale of 2^15 puts into float16 embeddings."""
    leaf = (
        (x * 4096.0).half().requires_grad_()
    )  # so long that without the scale float16 had two digits for it
    (loss(leaf, labels) * 2.0**15).backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_in_group(2, in_group, tmp_path_factory.mktemp("group"))


def test_float16_with_a_scaled_loss_is_as_exact_as_in_one_process(group: list[dict[str, Any]]) -> None:
    x, labels, _, _ = batch(24)
    alone = scaled_half(BatchOTLoss(), x, labels)
    together = torch.cat([results["half"] for results in group]) / 2  # DistributedDataParallel takes the mean
    assert 0.01 < alone.abs().max() < 1.0
    assert (together - alone).abs().max() <= 2.0**-10 * alone.abs().max()


@pytest.mark.parametrize("what", ["list", "string", "none"])
def test_a_rank_that_brings_no_labels_stops_all_with_its_message(
    group: list[dict[str, Any]], what: str
) -> None:
    first, second = (results[what] for results in group)
    message = second.split(": ", 1)[1]
    assert first.startswith("RankError: rank 1 was given something that it refused: ") and message in first


def test_what_fails_on_the_first_rank_fails_on_all(group: list[dict[str, Any]]) -> None:
    assert group[0]["on first"] == "IndexError: list index out of range"
    assert group[1]["on first"] == "RankError: rank 0: IndexError: list index out of range"


def test_compiled_in_a_group(group: list[dict[str, Any]]) -> None:
    x, labels, _, _ = batch(24)
    for results in group:
        assert results["compiled"] == pytest.approx(batch_ot_loss(x, labels).item(), rel=1e-6)


# ---- numba


def fresh(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done


SCRIPT = """
import torch
from batchot import batch_ot_loss, CrossModalBatchOTLoss, retrieval_scores
generator = torch.Generator().manual_seed(0)
x, labels = torch.randn(20, 8, generator=generator), torch.arange(20) % 4
print(batch_ot_loss(x, labels).item(), batch_ot_loss(x[:9], labels[:9], None, x[9:], labels[9:]).item())
print(CrossModalBatchOTLoss()(x[:9], labels[:9], x[9:], labels[9:]).item(), retrieval_scores(x, labels).map)
"""


def test_without_compilation_the_values_are_the_same() -> None:
    expected, found = (
        [float(word) for word in fresh(SCRIPT, NUMBA_DISABLE_JIT=disabled).stdout.split()]
        for disabled in ("0", "1")
    )
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_first_loss_on_a_machine_is_soon_there_and_says_what_takes_long(tmp_path: Path) -> None:
    """About 5 processor seconds; it was 24 where numba compiled Newton's method. Busy machines take twice as many."""
    done = fresh(
        "import time, torch\n"
        "from batchot import BatchOTLoss\n"
        "x = torch.randn(60, 8, requires_grad=True)\n"
        "start = time.process_time()\n"
        "BatchOTLoss()(x, torch.arange(60) % 4).backward()\n"
        "print(time.process_time() - start)",
        NUMBA_CACHE_DIR=str(tmp_path),
        OMP_NUM_THREADS="1",
    )
    assert float(done.stdout) < 12.0
    assert done.stderr.count("numba compiles loops for this machine") == 1
    again = fresh("import torch, batchot; batchot.batch_ot_loss(torch.eye(4), torch.arange(4) % 2)",
                  NUMBA_CACHE_DIR=str(tmp_path))  # fmt: skip
    assert "numba" not in again.stderr
