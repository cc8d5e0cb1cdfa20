"""Fixtures of the tests of the search."""

from search_fixtures import sketch_run, small_index

__all__ = ["sketch_run", "small_index"]
