"""Facts of runs, searches, candidates and comparisons, read from the run store in one way for the
command line, the reports and the terminal app. Nothing here imports torch or a display."""
