"""Curves, pictures and pages about runs."""

from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_embedding
from batchot.reporting.neighbours import draw_neighbours, nearest
from batchot.reporting.page import make_page
from batchot.reporting.run import write_report

__all__ = ["draw_curves", "draw_embedding", "draw_neighbours", "make_page", "nearest", "write_report"]
