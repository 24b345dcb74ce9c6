"""Abstract values: intervals of values, and of derivatives with respect to every agent's Q.

A tensor's batch dimension is folded to size 1: one abstract row stands for every row, which is
sound as long as no operation mixes rows (one that might gives :func:`unknown`). Per element there
is an interval [lo, hi] of its value, an interval [dlo, dhi] of its derivative with respect to each
agent's Q (over all states of the card and all Q), whether it may be curved (not affine) in the Qs
jointly, whether it may be infinite or NaN, and whether it surely is a whole number. An infinite
value lies in its interval like any other; of a NaN the interval says nothing.

Two readings share the rules. ``FLOAT32`` bounds what float32 arithmetic may give (flushing to zero
included) and answers questions of finiteness. Of derivatives it follows the direction only, as 0 or
an infinity: a correctly rounded operation rises where its exact result rises, so a direction that
survives holds for float32 itself. ``REAL`` bounds exact arithmetic and answers questions of
linearity, slopes, and of monotonicity where float32's rounding leaves none to be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

INF = float("inf")
FLOAT32_MAX = 3.4028234663852886e38
SMALLEST = 1.1754943508222875e-38
"""Smallest normal float32: results below may flush to zero."""
_TINY = 1e-300  # what float64 may lose to underflow while it bounds reals
_Corner = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
_EXACT32, _EXACT64 = 2.0**24, 2.0**53


class Interval(NamedTuple):
    """Elementwise bounds, float64."""

    lo: Tensor
    hi: Tensor

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(torch.minimum(self.lo, other.lo), torch.maximum(self.hi, other.hi))

    def size(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.lo.abs(), self.hi.abs())


def _short(x: Tensor) -> Tensor:
    """Where float32 holds the number exactly; products of two such are exact in float64."""
    return x.float().double() == x


@dataclass(frozen=True)
class Reading:
    """Whose arithmetic is bounded, and how its rounding is followed."""

    float32: bool

    def outward(self, x: Interval, steps: int = 1) -> Interval:
        """Bounds moved apart by ``steps`` units in the last place: torch's kernels approximate.

        Rounding keeps signs, so bounds do not cross zero.
        """
        if self.float32:
            slack, least = 2.0**-23 * steps, SMALLEST
        else:
            slack, least = 2.0**-51 * steps, _TINY
        lo, hi = x.lo - x.lo.abs() * slack - least, x.hi + x.hi.abs() * slack + least
        lo = torch.where(x.lo >= 0, lo.clamp(min=0.0), lo)
        hi = torch.where(x.hi <= 0, hi.clamp(max=0.0), hi)
        return Interval(torch.where(x.lo.isinf(), x.lo, lo), torch.where(x.hi.isinf(), x.hi, hi))

    def widen(self, x: Interval, slack: Tensor) -> Interval:
        """Bounds moved apart by an absolute error of float32 (nothing in real arithmetic)."""
        return Interval(x.lo - slack, x.hi + slack) if self.float32 else x

    def literal(self, x: Tensor) -> Interval:
        """A number as torch may hold it."""
        x = x.to(torch.float64)
        if not self.float32:
            return Interval(x, x)
        rounded = x.float().double()
        return Interval(torch.minimum(x, rounded), torch.maximum(x, rounded))

    # One correctly rounded operation is monotone in its exact result: a bound that is exact and
    # that float32 can hold needs no room.

    def _ends(self, x: Tensor, exact: Tensor) -> Interval:
        """Bounds of one rounded result whose exact value ``x`` is (or is near, in float64)."""
        if self.float32:
            held = x.float()
            kept = held.double() == x
            lo = torch.where(kept, x, torch.nextafter(held, _LOW).double())
            hi = torch.where(kept, x, torch.nextafter(held, _HIGH).double())
            small = x.abs() < SMALLEST
            lo = torch.where(small & (lo > 0), 0.0, torch.where(small & (lo < 0), -SMALLEST, lo))
            hi = torch.where(small & (hi < 0), 0.0, torch.where(small & (hi > 0), SMALLEST, hi))
            return Interval(lo, hi)
        slack = torch.where(exact | x.isinf(), 0.0, x.abs() * 2.0**-52 + _TINY)
        lo, hi = x - slack, x + slack
        return Interval(
            torch.where(x > 0, lo.clamp(min=0.0), lo), torch.where(x < 0, hi.clamp(max=0.0), hi)
        )

    def add(self, a: Interval, b: Interval) -> Interval:
        """All sums; opposite infinities leave the bound open."""
        lo, hi = a.lo + b.lo, a.hi + b.hi
        low = self._ends(lo, _sum_is_exact(a.lo, b.lo, lo)).lo
        high = self._ends(hi, _sum_is_exact(a.hi, b.hi, hi)).hi
        return Interval(torch.where(lo.isnan(), -INF, low), torch.where(hi.isnan(), INF, high))

    def multiply(self, a: Interval, b: Interval) -> Interval:
        """All products; 0 * inf is 0, since values are finite and only their bounds are not."""
        return self._corners(a, b, _product)

    def divide(self, a: Interval, b: Interval) -> Interval:
        """All quotients; everything where zero is in the divisor (of which sign is not known)."""
        crosses = (b.lo <= 0) & (b.hi >= 0)
        out = self._corners(a, b, _quotient)
        return Interval(torch.where(crosses, -INF, out.lo), torch.where(crosses, INF, out.hi))

    def _corners(self, a: Interval, b: Interval, how: _Corner) -> Interval:
        short = _short(a.lo) & _short(a.hi) & _short(b.lo) & _short(b.hi)
        ends = []
        for x in a if a.lo is not a.hi else a[:1]:
            for y in b if b.lo is not b.hi else b[:1]:
                value, exact = how(x, y, short)
                ends.append(self._ends(value, exact))
        lo, hi = ends[0]
        for e in ends[1:]:
            lo, hi = torch.minimum(lo, e.lo), torch.maximum(hi, e.hi)
        return Interval(lo, hi)

    def sum_along(self, x: Interval, dims: list[int], keepdim: bool) -> Interval:
        """Sums over dimensions, in any order of summation."""
        if not dims:
            return x
        count = 1
        for d in dims:
            count *= x.lo.shape[d]
        lo, hi = x.lo.sum(dims, keepdim), x.hi.sum(dims, keepdim)
        lo, hi = torch.where(lo.isnan(), -INF, lo), torch.where(hi.isnan(), INF, hi)
        if count <= 1:
            return Interval(lo, hi)
        lo_slack = self._sum_slack(x.lo, dims, keepdim, count)
        hi_slack = self._sum_slack(x.hi, dims, keepdim, count)
        low = torch.where(lo.isinf(), lo, lo - lo_slack)
        high = torch.where(hi.isinf(), hi, hi + hi_slack)
        low = torch.where(all_along(x.lo >= 0, dims, keepdim), low.clamp(min=0.0), low)
        high = torch.where(all_along(x.hi <= 0, dims, keepdim), high.clamp(max=0.0), high)
        return Interval(low, high)

    def _sum_slack(self, x: Tensor, dims: list[int], keepdim: bool, count: int) -> Tensor:
        """How far rounding may take a sum of exactly these terms: relative to the terms' sizes.

        Nothing where every partial sum of the terms is exact. Since each rounded addition is
        monotone in both its terms, the sum at an end bounds every sum on the inner side of it.
        """
        sizes = x.abs().sum(dims, keepdim)
        unit, least, top = (
            (2.0**-23, SMALLEST, _EXACT32) if self.float32 else (2.0**-52, _TINY, _EXACT64)
        )
        grid = all_along((x * 1024.0).frac() == 0, dims, keepdim) & (sizes * 1024.0 <= top)
        return torch.where(grid, 0.0, sizes * (unit * count) + least * count)


REAL = Reading(float32=False)
FLOAT32 = Reading(float32=True)

_LOW, _HIGH = torch.tensor(-INF), torch.tensor(INF)


def _product(a: Tensor, b: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
    nothing = (a == 0) | (b == 0)
    return torch.where(nothing, 0.0, a * b), short | nothing


def _quotient(a: Tensor, b: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
    # inf / inf: the bound of the quotient is open on the side of its sign, and reaches to zero
    q = a / b
    q = torch.where(q.isnan(), torch.where(a == 0, 0.0, a.sign() * b.sign() * INF), q)
    return q, (a == 0) | b.isinf() | (short & _short(q) & (q * b == a))


def _sum_is_exact(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """Knuth's two-sum: whether a + b was not rounded."""
    c = s - a
    return ((a - (s - c)) + (b - c)) == 0


@dataclass(frozen=True)
class Abstract:
    """What is known of one tensor; fields have the folded shape, derivatives [n_agents, ...]."""

    value: Interval
    slope: Interval | None
    """Derivatives with respect to each agent's Q; None where the tensor does not depend on Q."""
    curved: Tensor
    bad: Tensor
    """May be infinite or NaN."""
    nan: Tensor
    """May be NaN."""
    whole: Tensor
    """Surely a whole number where finite."""
    batch_axis: int | None
    is_unknown: bool = False
    is_condition: bool = False
    touched: Tensor | None = None
    """Where float32's result may vary with some agent's Q; None where only the slope tells."""

    @property
    def shape(self) -> torch.Size:
        """The folded shape."""
        return self.value.lo.shape

    @property
    def constant(self) -> bool:
        """Whether every element has one known value that does not depend on Q."""
        return self.slope is None and bool(((self.value.lo == self.value.hi) & ~self.bad).all())

    def independent(self) -> Tensor:
        """Per element, whether it surely does not depend on any agent's Q."""
        if self.touched is not None:
            return ~self.touched
        if self.slope is None:
            return torch.ones(self.shape, dtype=torch.bool)
        return ((self.slope.lo == 0) & (self.slope.hi == 0)).all(0)

    def slopes(self, n_agents: int) -> Interval:
        """The derivative bounds, zeros where there is no dependence."""
        if self.slope is not None:
            return self.slope
        zero = torch.zeros((), dtype=torch.float64).expand(n_agents, *self.shape)
        return Interval(zero, zero)

    def but(
        self,
        *,
        value: Interval | None = None,
        bad: Tensor | None = None,
        whole: Tensor | None = None,
    ) -> Abstract:
        """The same with some components replaced."""
        return replace(
            self,
            value=self.value if value is None else value,
            bad=self.bad if bad is None else bad,
            nan=self.nan if bad is None else bad,
            whole=self.whole if whole is None else whole,
        )


def known(
    value: Interval, axis: int | None, slope: Interval | None = None, curved: Tensor | None = None,
    bad: Tensor | None = None, *, nan: Tensor | None = None, whole: Tensor | None = None,
) -> Abstract:  # fmt: skip
    """An abstract value with nothing bad, curved or whole unless said."""
    off = torch.zeros(value.lo.shape, dtype=torch.bool)
    bad = off if bad is None else bad
    return Abstract(
        value,
        slope,
        off if curved is None else curved,
        bad,
        bad if nan is None else nan,
        off if whole is None else whole,
        axis,
    )


def point(value: Tensor, axis: int | None, reading: Reading = REAL) -> Abstract:
    """A literal."""
    value = value.to(torch.float64)
    shown = reading.literal(value.nan_to_num(nan=0.0, posinf=INF, neginf=-INF))
    bad = ~(torch.isfinite(shown.lo) & torch.isfinite(shown.hi)) | value.isnan()
    whole = torch.isfinite(value) & (value == value.round())
    return known(shown, axis, bad=bad, nan=value.isnan(), whole=whole)


def unknown(shape: tuple[int, ...], axis: int | None, n_agents: int) -> Abstract:
    """Nothing is known: any value, any slope, perhaps not finite, rows perhaps mixed."""
    low = torch.full((), -INF, dtype=torch.float64)
    yes = torch.ones((), dtype=torch.bool).expand(shape)
    value = Interval(low.expand(shape), (-low).expand(shape))
    slope = Interval(low.expand(n_agents, *shape), (-low).expand(n_agents, *shape))
    return Abstract(value, slope, yes, yes, yes, ~yes, axis, is_unknown=True)


def any_slope(x: Interval) -> Interval:
    """No bound on the derivative, in the shape of ``x``."""
    low = torch.full_like(x.lo, -INF)
    return Interval(low, -low)


def negate(a: Interval) -> Interval:
    """All negatives."""
    return Interval(-a.hi, -a.lo)


def all_along(mask: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """Whether all elements along the dimensions are set."""
    for d in sorted((d % mask.dim() for d in dims), reverse=True):
        mask = mask.all(d, keepdim=keepdim)
    return mask


def any_along(mask: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """Whether any element along the dimensions is set."""
    return ~all_along(~mask, dims, keepdim)
