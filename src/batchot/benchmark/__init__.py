"""Comparisons of losses at equal terms, and the benchmarks of the paper."""

from batchot.benchmark.compare import Comparison, compare
from batchot.benchmark.contenders import Contender, contender
from batchot.benchmark.results import Interval, mean_interval

__all__ = ["Comparison", "Contender", "Interval", "compare", "contender", "mean_interval"]
