"""Rules for activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sandbox.prover.arithmetic import steep, through
from sandbox.prover.curves import EXP_END, LEAST, Map, exceeds, held_scalars, opened
from sandbox.prover.domain import FLOAT32_MAX, INF, Abstract, Interval
from sandbox.prover.registry import Context, rule

TAKEN_FOR_SMOOTH = 20.0
"""Threshold of softplus from which on its step is far below float32's resolution there."""


@rule("softplus.default")
def _softplus(c: Context, x: Abstract, beta: float = 1, threshold: float = 20) -> Abstract:
    if not (0 < beta < INF and 0 <= threshold < INF and held_scalars(beta, threshold)):
        return c.unknown()
    lo, hi = x.value

    def f(t: Tensor) -> Tensor:
        return torch.logaddexp(torch.zeros((), dtype=t.dtype), beta * t) / beta

    # Beyond the threshold torch takes the identity, which lies this much lower:
    gap = math.log1p(math.exp(-threshold)) / beta
    value = Interval(torch.maximum(f(lo) - gap, lo).clamp(min=0.0), f(hi).clamp(min=LEAST))
    d = Interval(torch.sigmoid(beta * lo), torch.sigmoid(beta * hi).clamp(min=LEAST))
    d = Interval(d.lo, torch.where(hi * beta > threshold, 1.0, d.hi))
    # Below the threshold torch takes the exponential, and above it nothing.
    bad = exceeds(c, (hi * beta).clamp(max=threshold), EXP_END)
    out = through(c, x, opened(value, bad), d, bad=bad, steps=8)
    room = beta * x.value.size() * 2.0**-22 * out.value.size()
    wider = c.reading.widen(out.value, room)
    out = out.but(value=Interval(wider.lo.clamp(min=0.0), wider.hi))  # a logarithm of 1 or more
    if out.slope is None or threshold >= TAKEN_FOR_SMOOTH:
        return out
    return steep(c, out, (lo * beta <= threshold) & (hi * beta >= threshold) & ~x.independent())


@rule("log_sigmoid_forward.default")
def _log_sigmoid(c: Context, x: Abstract) -> Abstract:
    f = torch.nn.functional.logsigmoid
    lo, hi = x.value
    value = Interval(f(lo), f(hi).clamp(max=-LEAST))
    d = Interval(torch.sigmoid(-hi), torch.sigmoid(-lo).clamp(min=LEAST))
    return through(c, x, value, d, steps=8)


@rule("elu.default")
def _elu(
    c: Context, x: Abstract, alpha: float = 1, scale: float = 1, input_scale: float = 1
) -> Abstract:
    scalars = (alpha, scale, input_scale)
    if not (all(0 <= k < 1e6 for k in scalars) and held_scalars(*scalars)):
        return c.unknown()
    lo, hi = x.value

    def f(t: Tensor) -> Tensor:
        left = alpha * torch.expm1(torch.clamp(t, max=0.0) * input_scale)
        return scale * torch.where(t > 0, t, left)

    def slope(t: Tensor) -> Tensor:
        return scale * input_scale * alpha * torch.exp(torch.clamp(t, max=0.0) * input_scale)

    flat = torch.full_like(lo, scale)
    left = Interval(slope(lo), slope(hi.clamp(max=0.0)).clamp(min=LEAST))
    d = Interval(
        torch.where(lo > 0, flat, torch.where(hi <= 0, left.lo, torch.minimum(left.lo, flat))),
        torch.where(lo > 0, flat, torch.where(hi <= 0, left.hi, torch.maximum(left.hi, flat))),
    )
    return through(c, x, Interval(f(lo), f(hi)), d, steps=8)


@rule("leaky_relu.default")
def _leaky_relu(c: Context, x: Abstract, negative_slope: float = 0.01) -> Abstract:
    if not (0 <= negative_slope < INF and held_scalars(negative_slope)):
        return c.unknown()
    lo, hi = x.value
    f = torch.nn.functional.leaky_relu
    one, low = torch.ones_like(lo), torch.full_like(lo, negative_slope)
    first = torch.where(lo >= 0, one, low)
    second = torch.where(hi <= 0, low, one)
    d = Interval(torch.minimum(first, second), torch.maximum(first, second))
    ends = Interval(f(lo, negative_slope), f(hi, negative_slope))
    return through(c, x, ends, d, rounded_once=True)


@rule("hardsigmoid.default")
def _hardsigmoid(c: Context, x: Abstract) -> Abstract:
    f = torch.nn.functional.hardsigmoid
    lo, hi = x.value
    d = Interval(torch.zeros_like(lo), torch.full_like(lo, 1 / 6))
    out = through(c, x, Interval(f(lo), f(hi)), d)
    return out.but(value=c.reading.widen(out.value, torch.full(x.shape, 1e-6).double()))


_DIPS: dict[str, tuple[Map, float, float, float]] = {
    # function, its minimum, smallest and largest derivative (rounded outward)
    "silu.default": (torch.nn.functional.silu, -0.27848, -0.0999, 1.0999),
    "gelu.default": (torch.nn.functional.gelu, -0.17005, -0.1291, 1.1291),
    "mish.default": (torch.nn.functional.mish, -0.30885, -0.1133, 1.0886),
    "hardswish.default": (torch.nn.functional.hardswish, -0.37501, -0.50001, 1.50001),
}


def _dip(f: Map, lowest: float, least: float, most: float) -> Callable[..., Abstract]:
    """A function that dips below zero left of the origin and rises beyond it."""

    def apply(c: Context, x: Abstract, approximate: str = "none") -> Abstract:
        lo, hi = x.value
        rising = lo >= 0
        at_lo, at_hi = f(lo).nan_to_num(nan=0.0, posinf=INF), f(hi).nan_to_num(nan=0.0, posinf=INF)
        # room for the other form of gelu, and for torch's float32 kernels
        low = (at_lo - 1e-3 - at_lo.abs() * 1e-6).clamp(min=0.0)
        value = Interval(
            torch.where(rising, low, lowest),
            torch.maximum(at_lo, at_hi).clamp(min=0.0) * (1 + 1e-6) + 1e-3,
        )
        d = Interval(torch.where(rising, 0.49, least), torch.full_like(lo, most))
        # Hardswish and gelu multiply by up to six before they divide.
        bad = exceeds(c, 6.0 * x.value.size(), FLOAT32_MAX)
        return through(c, x, opened(value, bad), d, bad=bad)

    return apply


for _name, (_f, _lowest, _least_slope, _most_slope) in _DIPS.items():
    rule(_name)(_dip(_f, _lowest, _least_slope, _most_slope))
