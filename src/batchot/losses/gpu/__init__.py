"""Kernels of the loss for GPUs, written in Triton."""
