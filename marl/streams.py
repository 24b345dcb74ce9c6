"""Random numbers that do not depend on the batch: one independent stream per row.

A generator that is shared by a batch hands out its numbers in the order of the rows, so that
adding a row changes everyone's luck. Here each row owns a stream, and a number is a pure function
of (seed, row, how many the row has drawn before). The function is the finaliser of SplitMix64
(Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators") on 64-bit integers,
hence bit for bit the same on every device, and the whole state is one counter per row.
"""

from __future__ import annotations

import hashlib
import json
import math

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """A 64-bit pattern as the signed integer that torch stores for it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed in [0, 2^63) for one purpose, such as ``derive_seed(seed, "evaluation", 3)``.

    Hashed, so that neighbouring seeds and purposes have nothing in common.
    """
    text = json.dumps([seed, *purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64's finaliser; products wrap at 64 bits."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return value ^ _shift(value, 31)


class Streams:
    """``rows`` independent random streams; row i's numbers do not depend on ``rows``.

    Args:
        seed: any integer; use `derive_seed` to keep purposes apart.
        rows: number of streams.
        device: where the numbers are made.
        first: row 0 is that of this number among more rows.
    """

    def __init__(
        self, seed: int, rows: int, device: torch.device | str = "cpu", *, first: int = 0
    ) -> None:
        index = torch.arange(first + 1, first + rows + 1, dtype=torch.int64, device=device)
        start = torch.tensor(_signed(derive_seed(seed, "streams")), device=device)
        self._keys = _mix(_mix(start) + index * _GOLDEN)
        self._counters = torch.zeros(rows, dtype=torch.int64, device=device)

    def uniform(
        self, *shape: int, dtype: torch.dtype = torch.float32, mask: Tensor | None = None
    ) -> Tensor:
        """Uniform numbers in [0, 1).

        Args:
            shape: the shape of one row's draw.
            dtype: float32 (24 random bits) or float64 (53).
            mask: bool ``[rows]``; streams outside it do not advance, and their numbers are to be
                ignored. None advances all.

        Returns:
            ``[rows, *shape]``.
        """
        count = math.prod(shape)
        steps = torch.arange(1, count + 1, dtype=torch.int64, device=self._keys.device)
        at = self._counters[:, None] + steps
        bits = _mix(self._keys[:, None] + at * _GOLDEN)
        self._counters = self._counters + (count if mask is None else mask * count)
        kept = 53 if dtype == torch.float64 else 24
        return (_shift(bits, 64 - kept).to(dtype) * 2.0**-kept).reshape(-1, *shape)

    def state_dict(self) -> dict[str, Tensor]:
        """``counters`` int64 ``[rows]``; the keys follow from the seed."""
        return {"counters": self._counters.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        counters = state["counters"]
        if counters.shape != self._counters.shape:
            raise ValueError(
                f"random streams: {len(counters)} counters for {len(self._counters)} rows"
            )
        self._counters = counters.to(self._counters.device, copy=True)
