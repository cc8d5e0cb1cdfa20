"""The operator: through autograd, in half types, as one node of a compiled graph."""

from __future__ import annotations

import warnings

import pytest
import torch

from batchot.losses.batch import Batch
from batchot.losses.gpu import gpu_loss, gpu_loss_and_error, is_gpu_fusible
from batchot.losses.gpu.loss import _suits
from batchot.losses.settings import BatchOTSettings
from batchot.transport import SinkhornWarning
from gpu_support import Outcome, assert_same, expected, random_batch


def on(device: torch.device, batch: Batch) -> Batch:
    """The batch as leaves on a device."""
    x = batch.x.detach().clone().to(device).requires_grad_()
    y = None if batch.y is None else batch.y.detach().clone().to(device).requires_grad_()
    labels = batch.labels.to(device)
    return Batch(x, labels, y, None if batch.y_labels is None else batch.y_labels.to(device), None)


@pytest.mark.parametrize("m", [None, 19])
def test_backward_scales_the_gradients(m: int | None, device: torch.device) -> None:
    batch = on(device, random_batch(23, m, 8))
    (3.0 * gpu_loss(batch, BatchOTSettings())).backward()
    wanted = expected(batch_on_cpu(batch), BatchOTSettings())
    loss = gpu_loss(batch, BatchOTSettings()).detach().cpu().double()
    grad_y = None if batch.y is None else batch.y.grad / 3.0
    assert_same(Outcome(loss, batch.x.grad / 3.0, grad_y), wanted)


def batch_on_cpu(batch: Batch) -> Batch:
    tensors = (batch.x, batch.labels, batch.y, batch.y_labels)
    return Batch(*(None if t is None else t.detach().cpu() for t in tensors), None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    batch = on(device, random_batch(20, None, 8, dtype=dtype))
    loss = gpu_loss(batch, BatchOTSettings())
    loss.backward()
    loss = loss.detach()
    assert loss.dtype == torch.float32 and batch.x.grad.dtype == dtype
    wanted = expected(batch_on_cpu(batch), BatchOTSettings())
    assert abs(float(loss) - float(wanted.loss)) <= 1e-5 * float(wanted.loss)
    largest = wanted.grad_x.abs().max()
    assert (batch.x.grad.cpu().double() - wanted.grad_x).abs().max() <= 2 * torch.finfo(dtype).eps * largest


def test_under_autocast(device: torch.device) -> None:
    batch = on(device, random_batch(20, 17, 8))
    outside = gpu_loss(batch, BatchOTSettings(normalize=False))
    with torch.autocast(device.type, torch.bfloat16):
        inside = gpu_loss(batch, BatchOTSettings(normalize=False))
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)


def test_rows_with_gaps_and_labels_of_other_types(device: torch.device) -> None:
    batch = on(device, random_batch(20, None, 8))
    wanted = gpu_loss(batch, BatchOTSettings())
    apart = torch.zeros(8, 40, device=device).T[::2]
    apart.copy_(batch.x.detach())
    for labels in (batch.labels.int(), batch.labels.to(torch.uint8), batch.labels.repeat_interleave(2)[::2]):
        assert torch.equal(gpu_loss(Batch(apart, labels, None, None, None), BatchOTSettings()), wanted)


def test_operator_is_registered_rightly(device: torch.device) -> None:
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    for m, need_grad in ((None, True), (13, True), (13, False)):
        b = on(device, random_batch(18, m, 6))
        x, y = (b.x, b.y) if need_grad else (b.x.detach(), None if b.y is None else b.y.detach())
        given = (x, y, b.labels, b.y_labels, 1.0, 0.0, 3.0, 5.0, True, False, 1e-6, 1000, "ieee", need_grad)
        torch.library.opcheck(torch.ops.batchot.gpu_loss.default, given, test_utils=checks)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_graph_under_compile(backend: str, device: torch.device) -> None:
    batch = on(device, random_batch(20, None, 8))
    weight = torch.eye(8, device=device, requires_grad=True)

    def step(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        batch = Batch(x @ weight, labels, None, None, None)
        assert is_gpu_fusible(batch, BatchOTSettings()) == batch.x.is_cuda
        return gpu_loss(batch, BatchOTSettings())

    wanted = torch.autograd.grad(step(batch.x, batch.labels), weight)[0]
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    found = torch.autograd.grad(compiled(batch.x, batch.labels), weight)[0]
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-8)


def test_a_plan_that_is_not_done_is_told_of(device: torch.device) -> None:
    batch = on(device, random_batch(20, None, 8))
    with pytest.warns(SinkhornWarning, match="marginal error"):
        gpu_loss(batch, BatchOTSettings(max_iterations=1))
        if device.type == "cuda":
            torch.cuda.synchronize()
            gpu_loss(batch, BatchOTSettings())
    with warnings.catch_warnings():
        warnings.simplefilter("error", SinkhornWarning)
        loss, error = gpu_loss_and_error(batch, BatchOTSettings())
        gpu_loss(batch, BatchOTSettings())
    assert error <= 1e-6 and not error.requires_grad and loss.requires_grad


def test_which_cases_are_taken() -> None:
    batch = random_batch(20, None, 8)
    assert not is_gpu_fusible(batch, BatchOTSettings())  # on a CPU
    assert _suits(batch, BatchOTSettings())
    assert _suits(batch, BatchOTSettings(lam=5000.0, plan="uniform"))
    for options in (
        BatchOTSettings(lam=41.0),
        BatchOTSettings(grad="implicit"),
        BatchOTSettings(power=2),
        BatchOTSettings(distance_power=1),
        BatchOTSettings(tolerance=1e-7),
    ):
        assert not _suits(batch, options)
    x, labels = batch.x, batch.labels
    for other in (
        Batch(x.double(), labels, None, None, None),
        Batch(x, labels.float(), None, None, None),
        Batch(x, None, None, None, (labels, labels, labels)),
        Batch(x, labels, x, None, None),
        Batch(x[:1], labels[:1], None, None, None),
    ):
        assert not _suits(other, BatchOTSettings())
