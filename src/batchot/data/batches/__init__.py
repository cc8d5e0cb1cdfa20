"""Batches: samplers, loaders, pairs of modalities."""
