"""Comparisons of losses at equal terms, and the benchmarks of the paper."""
