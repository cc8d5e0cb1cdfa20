"""Backends of the loss: who computes a problem. `batchot.losses.solve` picks one."""
