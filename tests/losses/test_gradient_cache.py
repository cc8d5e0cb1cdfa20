"""Gradients in chunks are those of the whole batch, of a naive loop over chunks, and of the published algorithm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.profiler import ProfilerActivity, profile

import gradient_cache_process
from batchot import BatchOTLoss, GradientCache, cached_forward

N = 13  # samples; no chunk size below divides it, but 1


class Named(NamedTuple):
    embeddings: Tensor
    logits: Tensor | None


class Small(nn.Module):
    """A convolution and two layers, on pictures of 6 x 6."""

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            *between,
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.Tanh(),
            nn.Linear(16, 5),
        )
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        out: Tensor = self.layers(x)
        return out


def small(*between: nn.Module, dtype: torch.dtype = torch.float32) -> Small:
    torch.manual_seed(5)
    return Small(*between).to(dtype)


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 1, 6, 6, generator=torch.Generator().manual_seed(2)), torch.arange(N) % 3


def gradients(network: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    assert len(found) == len(list(network.parameters()))
    network.zero_grad()
    return found


def assert_close(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert float((got[name] - value).abs().max()) <= tolerance * max(1.0, float(value.abs().max())), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("chunk", [1, 3, 5, 12, N, 100])
def test_loss_and_gradients_are_those_of_the_whole_batch(
    chunk: int, dtype: torch.dtype, tolerance: float, samples: tuple[Tensor, Tensor]
) -> None:
    network, loss, x = small(dtype=dtype), BatchOTLoss(), samples[0].to(dtype)
    whole = loss(network(x), samples[1])
    whole.backward()
    expected = gradients(network)
    network.seen.clear()
    cached = GradientCache(network, chunk)
    value = loss(cached(x), samples[1])
    assert max(network.seen) <= chunk
    value.backward()
    assert max(network.seen) <= chunk
    assert abs(value.item() - whole.item()) <= tolerance
    assert_close(gradients(network), expected, tolerance)


def published(network: nn.Module, x: Tensor, labels: Tensor, loss: Callable[..., Tensor], chunk: int) -> None:
    """The algorithm of Gao and others, written down step by step."""
    with torch.no_grad():
        z = torch.cat([network(part) for part in x.split(chunk)])
    z.requires_grad_()
    loss(z, labels).backward()
    assert z.grad is not None
    for part, grad in zip(x.split(chunk), z.grad.split(chunk), strict=True):
        torch.sum(network(part) * grad).backward()


@pytest.mark.parametrize(
    "loss",
    [BatchOTLoss(), lambda z, labels: nn.functional.cross_entropy(z, labels)],
    ids=["batch-ot", "other"],
)
def test_equals_the_published_algorithm(loss: Callable[..., Tensor], samples: tuple[Tensor, Tensor]) -> None:
    network = small()
    published(network, *samples, loss, 4)
    expected = gradients(network)
    loss(cached_forward(network, samples[0], chunk=4), samples[1]).backward()
    assert_close(gradients(network), expected, 1e-6)


def in_chunks(network: nn.Module, x: Tensor, parts: int) -> Tensor:
    """The naive loop, which keeps all activations."""
    return torch.cat([network(part) for part in x.tensor_split(parts)])


def test_dropout_draws_the_same_numbers_in_both_passes(samples: tuple[Tensor, Tensor]) -> None:
    network, loss = small(nn.Dropout(0.5)), BatchOTLoss()
    torch.manual_seed(9)
    z = in_chunks(network, samples[0], 3)
    loss(z, samples[1]).backward()
    after, expected = torch.rand(()), gradients(network)
    torch.manual_seed(9)
    ours = cached_forward(network, samples[0], chunk=5)
    torch.rand(7)  # whatever the loss draws must not change the second pass
    loss(ours, samples[1]).backward()
    assert torch.equal(ours, z)
    assert_close(gradients(network), expected, 1e-7)
    torch.manual_seed(9)
    loss(cached_forward(network, samples[0], chunk=5), samples[1]).backward()
    assert torch.equal(torch.rand(()), after)  # the second pass leaves the generator where it was


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_normalisation_is_that_of_chunks_and_its_statistics_move_once(
    momentum: float | None, samples: tuple[Tensor, Tensor]
) -> None:
    network, twin = (small(nn.BatchNorm2d(4, momentum=momentum)) for _ in range(2))
    loss = BatchOTLoss()
    z = in_chunks(twin, samples[0], 3)
    loss(z, samples[1]).backward()
    ours = cached_forward(network, samples[0], chunk=5)
    buffers = dict(network.named_buffers())
    loss(ours, samples[1]).backward()
    assert torch.equal(ours, z)
    assert_close(gradients(network), gradients(twin), 1e-6)
    for name, expected in twin.named_buffers():
        assert torch.equal(network.get_buffer(name), expected), name
        assert (
            network.get_buffer(name) is buffers[name]
        )  # the same tensor, which an average of weights may hold
    assert int(network.get_buffer("layers.1.num_batches_tracked")) == 3


def test_batch_normalisation_in_eval_mode_is_that_of_the_whole_batch(samples: tuple[Tensor, Tensor]) -> None:
    network, loss = small(nn.BatchNorm2d(4)).eval(), BatchOTLoss()
    loss(network(samples[0]), samples[1]).backward()
    expected = gradients(network)
    loss(cached_forward(network, samples[0], chunk=4), samples[1]).backward()
    assert_close(gradients(network), expected, 1e-5)


def test_chunks_are_equal_to_one_sample(samples: tuple[Tensor, Tensor]) -> None:
    network = small()
    cached_forward(network, samples[0], chunk=12)  # 12 and 1 would leave a sample that cannot be normalised
    assert network.seen == [7, 6]


class Structured(nn.Module):
    """Takes and gives nested things."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.head, self.kind = nn.Linear(3, 4), nn.Linear(4, 2), kind

    def forward(self, first: dict[str, Tensor], *, second: tuple[Tensor, str], scale: Tensor) -> Any:
        z = self.layer(first["a"] + second[0]) * (2 if second[1] == "twice" else 1) * scale
        logits = self.head(z)
        return {"tuple": (z, logits), "named": Named(z, None), "dict": {"z": z, "logits": logits}}[self.kind]


@pytest.mark.parametrize("kind", ["tuple", "named", "dict"])
def test_nested_inputs_and_outputs(kind: str) -> None:
    torch.manual_seed(0)
    network = Structured(kind)
    a, b, scale = torch.randn(7, 3), torch.randn(7, 3, requires_grad=True), torch.tensor(1.5)
    expected = network({"a": a}, second=(b, "twice"), scale=scale)
    got = cached_forward(network, {"a": a}, second=(b, "twice"), scale=scale, chunk=3)
    assert type(got) is type(expected)
    for ours, theirs in zip(
        *(out.values() if kind == "dict" else out for out in (got, expected)), strict=True
    ):
        assert (ours is None and theirs is None) or torch.allclose(ours, theirs)
    first = got["z"] if kind == "dict" else got[0]
    first.square().sum().backward()
    ours = b.grad
    b.grad = None
    (expected["z"] if kind == "dict" else expected[0]).square().sum().backward()
    assert ours is not None and b.grad is not None
    assert torch.allclose(ours, b.grad, rtol=1e-5)


def test_bfloat16_loses_no_more_than_the_whole_batch_does() -> None:
    torch.manual_seed(0)
    network, loss = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)), BatchOTLoss()
    x, labels = torch.randn(256, 32), torch.arange(256) % 8

    def gradient(chunk: int, bf16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            z = cached_forward(network, x, chunk=chunk)
        loss(z.float(), labels).backward()
        return torch.cat([grad.flatten() for grad in gradients(network).values()])

    exact = gradient(256, False)
    lost = {chunk: float((gradient(chunk, True) - exact).norm() / exact.norm()) for chunk in (256, 4)}
    assert 0 < lost[4] <= lost[256]  # each chunk's gradient is rounded, their sum is not


def test_under_a_gradient_scaler_and_autograd_grad(samples: tuple[Tensor, Tensor]) -> None:
    network, loss = small(), BatchOTLoss()
    loss(network(samples[0]), samples[1]).backward()
    expected = gradients(network)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
    scaler.scale(loss(cached_forward(network, samples[0], chunk=4), samples[1])).backward()
    scaler.unscale_(optimiser)
    assert_close(gradients(network), expected, 1e-5)
    value = loss(cached_forward(network, samples[0], chunk=4), samples[1])
    direct = torch.autograd.grad(value, list(network.parameters()))
    assert_close(dict(zip(expected, direct, strict=True)), expected, 1e-5)


def test_without_gradients_nothing_is_kept(samples: tuple[Tensor, Tensor]) -> None:
    network = small()
    with torch.no_grad():
        z = cached_forward(network, samples[0], chunk=4)
    assert not z.requires_grad and torch.allclose(z, network(samples[0]), atol=1e-6)


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that PyTorch's tensors took at any time, above what they took before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    assert recorded.profiler is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def test_memory_is_that_of_a_chunk() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 26 * 26, 8))
    x, labels, loss = torch.randn(256, 1, 28, 28), torch.arange(256) % 4, BatchOTLoss()

    def step(chunk: int, rows: int = 256) -> int:
        z = lambda: cached_forward(network, x[:rows], chunk=chunk)  # noqa: E731
        return peak_bytes(lambda: loss(z(), labels[:rows]).backward())

    step(256)  # gradients are there from here on
    whole, chunked, alone = step(256), step(16), step(16, 16)
    assert chunked < whole / 8
    # over a batch of 16 comes what does not depend on the network: embeddings, and the loss on 256 of them
    assert chunked - alone < 4 * 256 * 256 * 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda n, x: cached_forward(n, x, chunk=0), "chunk must be at least 1"),
        (lambda n, x: GradientCache(n, -1), "chunk must be at least 1"),
        (lambda n, x: cached_forward(n, "text", chunk=2), "no tensor with a row a sample"),
        (lambda n, x: cached_forward(n, x, x[:3], chunk=2), r"lengths \[13, 3\]"),
        (lambda n, x: cached_forward(_Mean(), x, chunk=2), r"here 2 rows; got a tensor \(\)"),
        (lambda n, x: cached_forward(_Mean("text"), x, chunk=2), "got str"),
    ],
)
def test_bad_values(
    make: Callable[[nn.Module, Tensor], Any], says: str, samples: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(ValueError, match=says):
        make(small(), samples[0])


class _Mean(nn.Module):
    def __init__(self, instead: str | None = None) -> None:
        super().__init__()
        self.instead = instead

    def forward(self, x: Tensor) -> Any:
        return self.instead or x.mean()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Loss and gradients under DistributedDataParallel, each process with a loss "alone" and both "together"."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(gradient_cache_process.work, (str(folder),), nprocs=2)
    saved: dict[str, Any] = torch.load(folder / "out.pt")
    return saved


def test_two_processes_have_the_mean_of_their_gradients(two_processes: dict[str, Any]) -> None:
    saved = two_processes["alone"]
    assert (
        len(saved["sent"]) == len(set(saved["sent"])) > 0
    )  # each bucket of gradients once, not once a chunk
    means: dict[str, Tensor] = {}
    for rank in range(2):
        network, (x, labels) = gradient_cache_process.network(), gradient_cache_process.part(rank)
        BatchOTLoss()(network(x), labels).backward()
        for name, grad in gradients(network).items():
            means[name] = means.get(name, torch.zeros_like(grad)) + grad / 2
    assert_close(saved["grads"], means, 1e-5)


def test_two_processes_with_one_loss_are_one_process_with_the_whole_batch(
    two_processes: dict[str, Any],
) -> None:
    saved = two_processes["together"]
    network = gradient_cache_process.network()
    x, labels = (torch.cat(both) for both in zip(*map(gradient_cache_process.part, range(2)), strict=True))
    whole = BatchOTLoss()(network(x), labels)
    whole.backward()
    assert abs(whole.item() - saved["loss"].item()) < 1e-5
    assert_close(saved["grads"], gradients(network), 1e-5)


def test_distributed_data_parallel_belongs_outside(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(small())
        with pytest.raises(ValueError, match="must be outermost"):
            GradientCache(wrapped, 4)
    finally:
        distributed.destroy_process_group()
