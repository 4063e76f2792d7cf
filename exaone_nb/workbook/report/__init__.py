"""Executed notebooks as pages that open anywhere: self-contained, nothing fetched, nothing in them runs but our own script."""
