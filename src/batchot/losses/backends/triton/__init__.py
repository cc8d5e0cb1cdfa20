"""The loss on GPUs by kernels written in Triton; importing it needs no Triton and no GPU."""

from batchot.losses.backends.triton.operator import gpu_loss, gpu_loss_and_error, runs_here

__all__ = ["gpu_loss", "gpu_loss_and_error", "runs_here"]
