"""Executing notebooks, rendering reports, and showing things in both. Knows no chapter by name."""

from exaone_nb.workbook.display import note, show, show_table
from exaone_nb.workbook.passport import passport

__all__ = ["note", "passport", "show", "show_table"]
