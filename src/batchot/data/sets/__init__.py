"""Data sets and where they lie."""
