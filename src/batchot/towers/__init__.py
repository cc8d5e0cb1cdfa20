"""Trained networks: what they are, one forward for all uses, and how they lie on disk."""
