"""Where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up seconds by the name of the part; parts must not nest.

    Args:
        device: if given and a GPU, each part waits for it at its end, so that the time is charged
            to the part that caused it. That costs speed: for benchmarks only.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device if device is not None and device.type == "cuda" else None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what happens inside to ``name``."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            if self._device is not None:
                torch.cuda.synchronize(self._device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def breakdown(self, total: float, names: tuple[str, ...]) -> dict[str, float]:
        """Seconds of each of ``names``, and as ``other`` what remains of ``total``."""
        parts = {name: self.seconds.get(name, 0.0) for name in names}
        return {**parts, "other": max(0.0, total - sum(parts.values()))}


PARTS = ("rollout", "sampling", "forward", "backward", "optimiser")
"""The parts of a training that are told apart; evaluation and checkpoints count as other."""
