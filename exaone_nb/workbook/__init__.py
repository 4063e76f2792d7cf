"""Executing notebooks, rendering reports, and showing things in both. Knows no chapter by name."""

from exaone_nb.workbook.display import note, show, show_table

__all__ = ["note", "show", "show_table"]
