"""Fixtures of the tests of the search."""

from search_fixtures import photo_index, sketch_run, small_index

__all__ = ["photo_index", "sketch_run", "small_index"]
