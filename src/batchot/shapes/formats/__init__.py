"""Readers of shape files, a module a format."""
