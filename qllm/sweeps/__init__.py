"""Searches for settings: Optuna chooses, and each trial is a run that trains."""
