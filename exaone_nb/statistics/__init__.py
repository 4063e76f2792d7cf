"""Intervals, tests, bootstrap and planning, for scores, speeds and losses alike."""
