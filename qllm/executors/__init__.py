"""Where the pieces of a plan are worked on: this process, several, SLURM, Ray, or yours."""
