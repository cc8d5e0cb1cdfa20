"""Curves, pictures and pages about runs."""

from batchot.reporting.curves import draw_curves
from batchot.reporting.material import Items, ReportMaterial
from batchot.reporting.neighbours import draw_neighbours, hardest_pairs, nearest
from batchot.reporting.page import make_page
from batchot.reporting.run import load_material, rebuild_report, save_material, write_pages, write_report
from batchot.reporting.sheet import draw_contact_sheet

__all__ = [
    "Items", "ReportMaterial", "draw_contact_sheet", "draw_curves", "draw_neighbours",
    "hardest_pairs", "load_material", "make_page", "nearest", "rebuild_report", "save_material",
    "write_pages", "write_report",
]  # fmt: skip
