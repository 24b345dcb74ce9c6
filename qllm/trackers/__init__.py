"""Where a training's numbers go besides the run store: one protocol, and services behind it."""
