"""Helpers behind the EXAONE workbook. Import the wing you need; nothing heavy is imported here."""

__version__ = "0.1.0"
