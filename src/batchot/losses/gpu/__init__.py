"""The loss on GPUs by kernels written in Triton; importing it needs no Triton and no GPU."""

from batchot.losses.gpu.loss import gpu_loss, gpu_loss_and_error, is_gpu_fusible

__all__ = ["gpu_loss", "gpu_loss_and_error", "is_gpu_fusible"]
