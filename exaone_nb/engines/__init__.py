"""One runtime per engine: start, number format with its reason, environment, kernel names, and an orderly end."""
