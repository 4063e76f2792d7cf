"""Intervals, tests, verdicts and planning, for scores, speeds and losses alike."""
