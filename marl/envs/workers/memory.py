"""One block of memory that processes share, seen as named arrays.

The block has no name in any file system: it is an open file without a path, whose descriptor is
handed to the workers. It is gone with the last process that has it, however that process ends.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # a cache line, so that no two arrays share one


@dataclass(frozen=True)
class Layout:
    """Which arrays a block holds: for each name its type (as numpy writes it) and shape."""

    fields: Mapping[str, tuple[str, tuple[int, ...]]]

    @classmethod
    def of_batch(
        cls, rows: int, agents: int, actions: int, obs: int, state: int, real: str, metrics: int = 0
    ) -> Layout:
        """What a batch of ``rows`` instances exchanges with its workers.

        ``active``, ``seeds`` and ``actions`` are written by the parent: which instances to reset or
        step, with which seed or actions. The rest is what became of them; ``cut`` marks episodes
        that the environment's own time limit ended, and ``busy_s`` is the CPU time that the
        environments themselves took so far. ``real`` is float32 or float64.
        """
        return cls(
            {
                "active": ("bool", (rows,)),
                "seeds": ("int64", (rows,)),
                "actions": ("int64", (rows, agents)),
                "reward": ("float64", (rows,)),
                "rewards": ("float64", (rows, agents)),
                "terminated": ("bool", (rows,)),
                "cut": ("bool", (rows,)),
                "obs": (real, (rows, agents, obs)),
                "state": (real, (rows, state)),
                "avail": ("bool", (rows, agents, actions)),
                "metrics": ("float64", (rows, metrics)),
                "busy_s": ("float64", (rows,)),
            }
        )

    def _places(self) -> tuple[dict[str, tuple[int, int]], int]:
        """Offset and number of elements of each array, and the size of the block in bytes."""
        places, at = {}, 0
        for name, (kind, shape) in self.fields.items():
            count = int(np.prod(shape))
            places[name] = (at, count)
            at += -(-count * np.dtype(kind).itemsize // _ALIGNMENT) * _ALIGNMENT
        return places, max(at, _ALIGNMENT)

    def create(self) -> int:
        """A new block, all zeros; returns its descriptor, which the caller closes."""
        handle = os.memfd_create("qllm-environments", os.MFD_CLOEXEC)
        os.ftruncate(handle, self._places()[1])
        return handle

    def arrays(self, handle: int) -> dict[str, NDArray[Any]]:
        """The arrays of a block; writing to them is seen by every process that has it."""
        places, size = self._places()
        block = mmap.mmap(handle, size)  # lives as long as one of its arrays does
        return {
            name: np.frombuffer(block, kind, places[name][1], places[name][0]).reshape(shape)
            for name, (kind, shape) in self.fields.items()
        }
