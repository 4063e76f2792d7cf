"""One presentation: a table is columns and rows of numbers; terminal, notebook, report, JSON and CSV come from it."""
