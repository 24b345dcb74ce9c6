"""Executors of tasks: this process, several processes, SLURM, Ray, plug-ins."""
