"""Studies: one measurement over a grid of settings, resumable, and the folders that hold the results."""
