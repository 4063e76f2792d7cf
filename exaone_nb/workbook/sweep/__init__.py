"""Many runs from one grid: models x recipes x tasks x seeds, on this machine or on a Ray cluster."""
