"""Level-based foraging: options, tables of the grid, drawing of an episode, the environment."""
