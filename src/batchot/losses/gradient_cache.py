"""Gradient caching: a loss on a batch whose activations need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint


def cached_forward(network: nn.Module, *inputs: Any, chunk: int, **named: Any) -> Any:
    r"""Run a network on a batch so that only a chunk of it has activations in memory at any time.

    With the batch :math:`X = (X_1, \dots, X_k)`, the embeddings :math:`Z_c = f_\theta(X_c)` and any loss L of all
    of them,

    .. math:: \frac{\partial L}{\partial \theta}
        = \sum_{c=1}^k \frac{\partial L}{\partial Z_c} \, \frac{\partial f_\theta(X_c)}{\partial \theta}.

    Chunk after chunk is embedded and its activations are dropped; the loss sees the whole batch; the backward pass
    embeds each chunk once more and goes back through it. That is the price: a second forward pass.

    What comes out is used as ``network(*inputs, **named)`` would be: any loss, ``backward()``, mixed precision with
    and without a ``GradScaler``, clipping. What is equal:

    - Without batch normalisation and dropout, outputs and gradients are those of the whole batch.
    - Dropout draws anew for each chunk, and the same numbers both times that a chunk is embedded.
    - Batch normalisation in training mode sees a chunk where it saw the batch. Outputs, gradients and running
      statistics are those of a network that is run chunk by chunk; the statistics move once for each chunk.
    - Other modules must not change their buffers when they are run (spectral normalisation in training mode does).

    Args:
        network: any module.
        inputs, named: its arguments: tensors with a row a sample, tuples, lists or dicts of them; what is no tensor
            or a tensor of shape () is given to every chunk as it is.
        chunk: most samples that the network sees at once; chunks differ by no more than one sample.

    Returns:
        What the network returns, for the whole batch: a tensor with a row a sample, or a tuple, dict or named tuple
        of such tensors; None stays None.

    Raises:
        ValueError: chunk below 1; inputs without a tensor or of different lengths; an output without a row a sample;
            a network within DistributedDataParallel, which belongs around a :class:`GradientCache`.

    Source:
        L. Gao, Y. Zhang, J. Han, J. Callan, "Scaling deep contrastive learning batch size under memory limited
        setup", RepL4NLP 2021; T. Chen et al., "Training deep nets with sublinear memory cost", 2016.

    Example:
        >>> import torch
        >>> from batchot import BatchOTLoss, cached_forward
        >>> network, images, labels = torch.nn.Linear(16, 8), torch.randn(100, 16), torch.arange(100) % 5
        >>> BatchOTLoss()(cached_forward(network, images, chunk=32), labels).backward()
        >>> in_chunks = network.weight.grad.clone()
        >>> network.zero_grad()
        >>> BatchOTLoss()(network(images), labels).backward()
        >>> bool((network.weight.grad - in_chunks).abs().max() < 1e-5)
        True
    """
    _check(network, chunk)
    rows = _rows(tree_flatten((inputs, named))[0])
    return forward_in_parts(network, -(-rows // chunk), *inputs, **named)


def forward_in_parts(network: nn.Module, parts: int, *inputs: Any, **named: Any) -> Any:
    """Do what :func:`cached_forward` does, in a given number of chunks."""
    if parts <= 1:
        return network(*inputs, **named)
    leaves, structure = tree_flatten((inputs, named))
    # tensor_split makes equal parts, so that no chunk of one sample is left over, which batch normalisation refuses
    columns = [leaf.tensor_split(parts) if _has_rows(leaf) else (leaf,) * parts for leaf in leaves]
    outputs: list[list[Any]] = []
    with _every_chunk_casts_its_weights():
        for part in zip(*columns, strict=True):
            size = next(len(leaf) for leaf in part if _has_rows(leaf))
            made, made_structure = tree_flatten(_checkpointed(network, structure, part))
            outputs.append([_checked(each, size) for each in made])
    joined = [None if same[0] is None else torch.cat(same) for same in zip(*outputs, strict=True)]
    return tree_unflatten(joined, made_structure)


class GradientCache(nn.Module):
    """A network that is run by :func:`cached_forward`: use it in the place of the network.

    With more than one process it goes between the network and DistributedDataParallel, which then sends each gradient
    once, when the last chunk is done: ``DistributedDataParallel(GradientCache(network, chunk=64))``.

    Args:
        network: any module; its parameters are trained as they are without this one.
        chunk: most samples that it sees at once.

    Raises:
        ValueError: chunk below 1, a network within DistributedDataParallel; for inputs and outputs see
            :func:`cached_forward`.

    Example:
        >>> import torch
        >>> from batchot import BatchOTLoss, GradientCache
        >>> network = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
        >>> cached = GradientCache(network, chunk=64)
        >>> loss = BatchOTLoss()(cached(torch.randn(200, 16)), torch.arange(200) % 5)
        >>> loss.backward()
        >>> network[0].weight.grad.shape
        torch.Size([32, 16])
    """

    def __init__(self, network: nn.Module, chunk: int) -> None:
        super().__init__()
        _check(network, chunk)
        self.network = network
        self.chunk = chunk

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the network returns for these arguments."""
        return cached_forward(self.network, *inputs, chunk=self.chunk, **named)

    def extra_repr(self) -> str:
        """The size of a chunk, for ``print``."""
        return f"chunk={self.chunk}"


def _check(network: nn.Module, chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 sample, got {chunk}")
    if isinstance(network, DistributedDataParallel):
        raise ValueError(
            "DistributedDataParallel must be outermost: DistributedDataParallel(GradientCache(network, chunk))"
        )


def _checkpointed(network: nn.Module, structure: Any, leaves: Sequence[Any]) -> Any:
    """Outputs of a chunk, of which nothing is kept but what makes them again."""

    def run(*leaves: Any) -> Any:
        inputs, named = tree_unflatten(leaves, structure)
        return network(*inputs, **named)

    # Leaves are given one by one, as PyTorch looks among the arguments for the devices whose random numbers count.
    return checkpoint(run, *leaves, use_reentrant=False, context_fn=partial(_contexts, network))


def _contexts(network: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first run of a chunk, and the second."""
    return nullcontext(), _running_statistics_kept(network)


@contextmanager
def _running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let normalisations write their running statistics, which the first run has moved already, elsewhere."""
    norms = [module for module in network.modules() if isinstance(module, _NormBase) and module.training]
    kept = [dict(norm._buffers) for norm in norms]
    try:
        for norm in norms:
            for name, buffer in norm._buffers.items():
                norm._buffers[name] = None if buffer is None else buffer.clone()
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)


@contextmanager
def _every_chunk_casts_its_weights() -> Iterator[None]:
    """Turn autocast's memory of weights off: through one cast the gradients of all chunks would be added in 16 bits."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def _rows(leaves: Sequence[Any]) -> int:
    lengths = [len(leaf) for leaf in leaves if _has_rows(leaf)]
    if not lengths:
        raise ValueError("the network is given no tensor with a row a sample, so there is nothing to divide")
    if len(set(lengths)) > 1:
        raise ValueError(f"all tensors must have a row a sample, got lengths {lengths}")
    return lengths[0]


def _checked(output: Any, size: int) -> Any:
    if output is None or (_has_rows(output) and len(output) == size):
        return output
    what = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(f"the network must return tensors with a row a sample, here {size} rows; got {what}")
