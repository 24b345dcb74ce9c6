"""A run's numbers and trained networks as files, written on demand or while a training runs."""

from typing import Literal

Format = Literal["csv", "jsonl", "tensorboard"]
"""What ``qllm export`` writes: tables, JSON lines, or TensorBoard event files."""
