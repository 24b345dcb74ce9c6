"""Abstract values: intervals of values, and of derivatives with respect to every agent's Q.

A tensor's batch dimension is folded to size 1: one abstract row stands for every row, which is sound
as long as no operation mixes rows (one that might gives :meth:`Abstract.unknown`). Per element there
is an interval [lo, hi] of its value, an interval [dlo, dhi] of its derivative with respect to each
agent's Q (over all states of the card and all Q), whether it may be curved (not affine) in the Qs
jointly, and whether it may be infinite or NaN in float32.

Two readings share the rules. ``REAL`` takes Q from all reals, rounds outward by units in the last
place of float64, and answers questions of monotonicity and linearity in real arithmetic. ``FLOAT32``
bounds |Q|, rounds outward as float32 arithmetic may (flushing to zero included), and answers
questions of finiteness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

INF = float("inf")
FLOAT32_MAX = 3.4028234663852886e38
_SMALLEST = 1.1754943508222875e-38  # smallest normal float32: results below may flush to zero


class Interval(NamedTuple):
    """Elementwise bounds, float64."""

    lo: Tensor
    hi: Tensor

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(torch.minimum(self.lo, other.lo), torch.maximum(self.hi, other.hi))


@dataclass(frozen=True)
class Reading:
    """How rounding is followed."""

    float32: bool

    def outward(self, x: Interval, steps: int = 1) -> Interval:
        """Bounds moved apart by ``steps`` roundings.

        Rounding keeps signs, so bounds do not cross zero; in REAL an exact zero stays exact.
        """
        if self.float32:
            slack = 2.0**-23 * steps
            lo = x.lo - x.lo.abs() * slack - _SMALLEST
            hi = x.hi + x.hi.abs() * slack + _SMALLEST
        else:
            slack = 2.0**-51 * steps
            lo, hi = x.lo - x.lo.abs() * slack, x.hi + x.hi.abs() * slack
        lo = torch.where(x.lo >= 0, lo.clamp(min=0.0), lo)
        hi = torch.where(x.hi <= 0, hi.clamp(max=0.0), hi)
        return Interval(torch.where(x.lo.isinf(), x.lo, lo), torch.where(x.hi.isinf(), x.hi, hi))


REAL = Reading(float32=False)
FLOAT32 = Reading(float32=True)


@dataclass(frozen=True)
class Abstract:
    """What is known of one tensor; all fields have the folded shape (derivatives [n_agents, ...])."""

    value: Interval
    slope: Interval | None
    """Derivatives with respect to each agent's Q; None where the tensor does not depend on Q."""
    curved: Tensor
    bad: Tensor
    batch_axis: int | None
    is_unknown: bool = False

    @property
    def shape(self) -> torch.Size:
        """The folded shape."""
        return self.value.lo.shape

    @property
    def constant(self) -> bool:
        """Whether every element has one known value that does not depend on Q."""
        return self.slope is None and bool((self.value.lo == self.value.hi).all())

    def independent(self) -> Tensor:
        """Per element, whether it surely does not depend on any agent's Q."""
        if self.slope is None:
            return torch.ones(self.shape, dtype=torch.bool)
        return ((self.slope.lo == 0) & (self.slope.hi == 0)).all(0)

    def slopes(self, n_agents: int) -> Interval:
        """The derivative bounds, zeros where there is no dependence."""
        if self.slope is not None:
            return self.slope
        zero = torch.zeros((n_agents, *self.shape), dtype=torch.float64)
        return Interval(zero, zero)


def known(
    value: Interval, axis: int | None, slope: Interval | None = None, curved: Tensor | None = None,
    bad: Tensor | None = None,
) -> Abstract:  # fmt: skip
    """An abstract value with nothing bad and nothing curved unless said."""
    off = torch.zeros(value.lo.shape, dtype=torch.bool)
    return Abstract(
        value, slope, off if curved is None else curved, off if bad is None else bad, axis
    )


def point(value: Tensor, axis: int | None) -> Abstract:
    """A literal."""
    value = value.to(torch.float64)
    bad = ~torch.isfinite(value)
    shown = value.nan_to_num(nan=0.0, posinf=INF, neginf=-INF)
    return known(Interval(shown, shown), axis, bad=bad)


def unknown(shape: tuple[int, ...], axis: int | None, n_agents: int) -> Abstract:
    """Nothing is known: any value, any slope, perhaps not finite, rows perhaps mixed."""
    low = torch.full(shape, -INF, dtype=torch.float64)
    deep = torch.full((n_agents, *shape), -INF, dtype=torch.float64)
    yes = torch.ones(shape, dtype=torch.bool)
    return Abstract(Interval(low, -low), Interval(deep, -deep), yes, yes, axis, is_unknown=True)


def any_slope(x: Interval) -> Interval:
    """No bound on the derivative, in the shape of ``x``."""
    low = torch.full_like(x.lo, -INF)
    return Interval(low, -low)


# ---- interval arithmetic; 0 * inf is 0, since the values themselves are finite reals ------------


def _times(a: Tensor, b: Tensor) -> Tensor:
    out = a * b
    return torch.where((a == 0) | (b == 0), torch.zeros_like(out), out)


def multiply(a: Interval, b: Interval) -> Interval:
    """All products."""
    corners = (_times(a.lo, b.lo), _times(a.lo, b.hi), _times(a.hi, b.lo), _times(a.hi, b.hi))
    return Interval(
        torch.minimum(torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3])),
        torch.maximum(torch.maximum(corners[0], corners[1]), torch.maximum(corners[2], corners[3])),
    )


def add(a: Interval, b: Interval) -> Interval:
    """All sums; opposite infinities leave the bound open."""
    lo, hi = a.lo + b.lo, a.hi + b.hi
    return Interval(
        torch.where(lo.isnan(), -INF, lo),
        torch.where(hi.isnan(), INF, hi),
    )


def negate(a: Interval) -> Interval:
    """All negatives."""
    return Interval(-a.hi, -a.lo)


def reciprocal(a: Interval) -> Interval:
    """All reciprocals; everything where zero is in the interval."""
    crosses = (a.lo <= 0) & (a.hi >= 0)
    lo, hi = 1 / a.hi, 1 / a.lo
    return Interval(torch.where(crosses, -INF, lo), torch.where(crosses, INF, hi))


def sum_along(x: Interval, dims: list[int], keepdim: bool, reading: Reading) -> Interval:
    """Sums over dimensions, rounded outward for any order of summation."""
    if not dims:
        return x
    count = 1
    for d in dims:
        count *= x.lo.shape[d]
    lo, hi = x.lo.sum(dims, keepdim), x.hi.sum(dims, keepdim)
    lo, hi = torch.where(lo.isnan(), -INF, lo), torch.where(hi.isnan(), INF, hi)
    if count <= 1:
        return Interval(lo, hi)
    unit = (2.0**-23 if reading.float32 else 2.0**-52) * count
    # Where terms of both signs cancel, the error is relative to the terms, not to the sum.
    lo_slack = x.lo.abs().sum(dims, keepdim) * unit
    hi_slack = x.hi.abs().sum(dims, keepdim) * unit
    if reading.float32:
        lo_slack, hi_slack = lo_slack + _SMALLEST * count, hi_slack + _SMALLEST * count
    lo = torch.where(lo.isinf(), lo, lo - lo_slack)
    hi = torch.where(hi.isinf(), hi, hi + hi_slack)
    lo = torch.where(_all(x.lo >= 0, dims, keepdim), lo.clamp(min=0.0), lo)
    hi = torch.where(_all(x.hi <= 0, dims, keepdim), hi.clamp(max=0.0), hi)
    return Interval(lo, hi)


def _all(mask: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for d in sorted((d % mask.dim() for d in dims), reverse=True):
        mask = mask.all(d, keepdim=keepdim)
    return mask


def any_along(mask: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """Whether any element along the dimensions is set."""
    return ~_all(~mask, dims, keepdim)
