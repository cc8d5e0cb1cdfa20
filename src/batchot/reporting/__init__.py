"""Curves, pictures and pages about runs."""
