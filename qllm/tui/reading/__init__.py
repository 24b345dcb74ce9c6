"""Queries of the screens to the run store. Nothing here imports Textual."""
