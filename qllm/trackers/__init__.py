"""Destinations of a training's numbers besides the run store."""
