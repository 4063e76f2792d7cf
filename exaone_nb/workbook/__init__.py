"""Executing notebooks, rendering reports, and showing things in both. Knows no chapter by name."""

from exaone_nb.show.notebook import note, show, show_table
from exaone_nb.workbook.guesses import guess, show_guesses
from exaone_nb.workbook.record import passport
from exaone_nb.workbook.values import check_parameters

__all__ = ["check_parameters", "guess", "note", "passport", "show", "show_guesses", "show_table"]
