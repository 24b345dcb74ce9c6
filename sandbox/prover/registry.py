"""What a rule of the prover is, and what it may ask about the operation that it follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sandbox.prover.domain import FLOAT32_MAX, INF, Abstract, Interval, Reading, point, unknown
from sandbox.table import TensorType
from sandbox.table.tensors import DType

Results = tuple[Abstract, ...]
Rule = Callable[..., "Abstract | Results"]
RULES: dict[str, Rule] = {}

MAX_ELEMENTS = 1 << 20
"""Elements of one abstract value, derivatives included; larger ones are not followed."""

_R = TypeVar("_R", bound=Rule)


def rule(*overloads: str) -> Callable[[_R], _R]:
    """Register a rule for operations, named without their ``aten.`` prefix."""

    def register(function: _R) -> _R:
        for name in overloads:
            RULES[f"aten.{name}"] = function
        return function

    return register


@dataclass
class Context:
    """What a rule may ask about the operation it follows."""

    reading: Reading
    n_agents: int
    op: str
    results: tuple[TensorType, ...]
    operand_dtypes: tuple[DType, ...]
    trusts_operands: Callable[[], bool]
    """Asks whether the operands' bounds are, nearly, those of float32 (`Walk.holds_rounded`)."""

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the first result, for one row."""
        return self.results[0].shape

    @property
    def result_axis(self) -> int | None:
        """Batch axis of the first result."""
        return self.results[0].axis

    @property
    def result_dtype(self) -> DType:
        """Dtype of the first result."""
        return self.results[0].dtype

    def unknown(self, which: int = 0) -> Abstract:
        """Nothing known about a result."""
        of = self.results[which]
        return unknown(of.shape, of.axis, self.n_agents)

    def literal(self, number: float) -> Abstract:
        """A plain number as a tensor without dimensions."""
        return point(torch.tensor(float(number), dtype=torch.float64), None, self.reading)

    def literal_like(self, number: float, x: Abstract) -> Abstract:
        """A plain number in the shape of ``x``."""
        full = torch.full(x.shape, float(number), dtype=torch.float64)
        return point(full, x.batch_axis, self.reading)

    def tensor(self, x: Any) -> Abstract:
        """An operand: an abstract value as it is, a number as a literal."""
        return x if isinstance(x, Abstract) else self.literal(x)

    def overflow(self, x: Interval) -> Tensor:
        """Where float32 may have become infinite (nowhere in real arithmetic)."""
        if not self.reading.float32:
            return torch.zeros((), dtype=torch.bool).expand(x.lo.shape)
        return ~((x.lo >= -FLOAT32_MAX) & (x.hi <= FLOAT32_MAX))

    def held(self, x: Interval) -> Interval:
        """Bounds beyond float32's range taken to infinity, where such values end up."""
        if not self.reading.float32:
            return x
        lo = torch.where(x.lo < -FLOAT32_MAX, -INF, x.lo)
        return Interval(lo, torch.where(x.hi > FLOAT32_MAX, INF, x.hi))

    def apply(self, name: str, *args: Any) -> Abstract:
        """Another operation's rule within this one."""
        result = RULES[f"aten.{name}"](self, *args)
        assert isinstance(result, Abstract)
        return result


def broadcast(x: Abstract, shape: tuple[int, ...]) -> Abstract:
    """``x`` expanded to a folded shape."""

    def wide(t: Tensor) -> Tensor:
        return torch.broadcast_to(t, shape)

    slope = None
    if x.slope is not None:
        n = x.slope.lo.shape[0]
        inner = (n, *(1,) * (len(shape) - len(x.shape)), *x.shape)
        slope = Interval(
            x.slope.lo.reshape(inner).expand(n, *shape), x.slope.hi.reshape(inner).expand(n, *shape)
        )
    return replace(
        x,
        value=Interval(wide(x.value.lo), wide(x.value.hi)),
        slope=slope, curved=wide(x.curved), bad=wide(x.bad), nan=wide(x.nan), whole=wide(x.whole),
    )  # fmt: skip
