"""What the worker's side of football needs of gfootball, without an engine: seeded random walks."""
