"""Where losses that are pickled whole look for the class of their weights; it is in `problem`."""

from batchot.losses.problem import TermWeights

__all__ = ["TermWeights"]
