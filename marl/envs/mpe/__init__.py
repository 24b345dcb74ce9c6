"""Multi-Agent Particle Environments as batches, on one physics core."""
