"""Curves, pictures and pages about runs."""

from batchot.reporting.cross_material import CrossModalMaterial, Items
from batchot.reporting.cross_page import make_cross_page, write_cross_pages
from batchot.reporting.curves import draw_curves
from batchot.reporting.embedding import draw_embedding
from batchot.reporting.material import ReportMaterial
from batchot.reporting.neighbours import draw_neighbours, hardest_pairs, nearest
from batchot.reporting.page import make_page
from batchot.reporting.run import rebuild_report, write_pages, write_report
from batchot.reporting.saved import load_cross_material, load_material, save_cross_material, save_material
from batchot.reporting.sheet import draw_contact_sheet

__all__ = [
    "CrossModalMaterial",
    "Items",
    "ReportMaterial",
    "draw_contact_sheet",
    "draw_curves",
    "draw_embedding",
    "draw_neighbours",
    "hardest_pairs",
    "load_cross_material",
    "load_material",
    "make_cross_page",
    "make_page",
    "nearest",
    "rebuild_report",
    "save_cross_material",
    "save_material",
    "write_cross_pages",
    "write_pages",
    "write_report",
]
