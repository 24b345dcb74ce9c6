"""What is true of a run, a search, a candidate, a comparison: read from the run store once for the
command line, the reports and the terminal app. Nothing here imports torch or a display."""
