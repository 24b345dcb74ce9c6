"""The small library that every credit function may call by name: total, and typed by shape.

What authors of credit functions need again and again: who is how near to what, whose share of the
whole, what counts only where something is there. Nothing here divides by zero, and what does not
fit is refused in shapes. Each helper is traced into plain operations of the credit graph, so
proofs, mathematics and ``explain`` need nothing for it.

B is the number of rows. "The last axis" is that of the agents in ``[B, n]``, of the things in
``[B, m]`` and ``[B, n, m]``; folding it leaves ``[B, n]`` of ``[B, n, m]``, and ``[B, 1]`` of
``[B, n]``. Used only in the candidate's child; formulas are in ``docs/helpers.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from sandbox.guards import CandidateError

_LEAST = 1e-6


def pairwise_distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance of every position ``[B, n, d]`` from every other ``[B, m, d]``: ``[B, n, m]``.

    One position a row, ``[B, d]``, gives ``[B, n]``.
    """
    a, b = _values("pairwise_distance", a=a, b=b)
    single = b.dim() == 2 and a.dim() == 3
    if single:
        b = b.unsqueeze(1)
    if a.dim() != 3 or b.dim() != 3 or a.shape[2] != b.shape[2]:
        taken = "positions [B, n, d] and [B, m, d], or [B, d]"
        if b.dim() == 4:  # each a has things of its own, as where they are seen from it
            taken += "; the distance of things that are given as vectors from each a is `length(b)`"
        _refuse("pairwise_distance(a, b)", taken, a=a, b=b)
    gap = a.unsqueeze(2) - b.unsqueeze(1)
    distance = gap.square().sum(dim=3).sqrt()
    return distance.squeeze(2) if single else distance


def length(vectors: Tensor) -> Tensor:
    """Length of vectors: ``[B, n, d]`` gives ``[B, n]``, and ``[B, d]`` gives ``[B, 1]``."""
    (x,) = _values("length", vectors=vectors)
    return _kept(x, x.square().sum(dim=-1, keepdim=True).sqrt())


def near(distance: Tensor, scale: float = 1.0) -> Tensor:
    """Closeness from 1 (at no distance) towards 0: ``1 / (1 + distance / scale)``, of any shape."""
    (x,) = _values("near", distance=distance)
    return 1.0 / (1.0 + x.clamp(min=0.0) / _positive("near(distance, scale)", scale))


def nearest(distance: Tensor, valid: Tensor | None = None) -> Tensor:
    """Smallest over the last axis, of what is valid; the largest of all where nothing is."""
    (x,) = _values("nearest", distance=distance)
    if valid is not None:
        x = torch.where(_mask("nearest", x, valid), x, x.amax(dim=-1, keepdim=True))
    return _kept(x, x.amin(dim=-1, keepdim=True))


def furthest(distance: Tensor, valid: Tensor | None = None) -> Tensor:
    """Largest over the last axis, of what is valid; the smallest of all where nothing is."""
    (x,) = _values("furthest", distance=distance)
    if valid is not None:
        x = torch.where(_mask("furthest", x, valid), x, x.amin(dim=-1, keepdim=True))
    return _kept(x, x.amax(dim=-1, keepdim=True))


def at_nearest(distance: Tensor, values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Value of the nearest valid thing, 0 where none is valid: ``[B, n, m]`` and ``[B, m]`` (or
    ``[B, n, m]``) give ``[B, n]``. Things equally near count by their mean."""
    x, y = _values("at_nearest", distance=distance, values=values)
    x, y = _together("at_nearest(distance, values)", x, y)
    if valid is None:
        chosen = x <= x.amin(dim=-1, keepdim=True)
    else:
        mask = _mask("at_nearest", x, valid)
        x = torch.where(mask, x, x.amax(dim=-1, keepdim=True))
        chosen = (x <= x.amin(dim=-1, keepdim=True)) & mask
    weight = chosen.float()
    mean = (weight * y).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=1.0)
    return _kept(x, mean)


def share(x: Tensor) -> Tensor:
    """Each one's part of the sum over the last axis, 0 to 1; negative counts as 0, and all parts
    are equal where there is nothing to share."""
    (x,) = _values("share", x=x)
    x = x.clamp(min=0.0)
    total = x.sum(dim=-1, keepdim=True)
    part = (x / total.clamp(min=_LEAST)).clamp(max=1.0)
    return torch.where(total > _LEAST, part, 1.0 / x.shape[-1])


def fraction_of(x: Tensor, whole: Tensor | float) -> Tensor:
    """``x / whole``, held to 0 to 1; 0 where the whole is not positive."""
    x, whole = _values("fraction_of", x=x, whole=whole)
    x, whole = _together("fraction_of(x, whole)", x, whole)
    part = (x / whole.clamp(min=_LEAST)).clamp(0.0, 1.0)
    return torch.where(whole > 0, part, 0.0)


def scaled(x: Tensor, low: float, high: float) -> Tensor:
    """Numbers from low to high brought to 0 to 1, and held there."""
    (x,) = _values("scaled", x=x)
    low, high = float(low), float(high)
    return ((x - low) / _positive("scaled(x, low, high), with low < high", high - low)).clamp(0, 1)


def where_valid(x: Tensor, valid: Tensor, other: float = 0.0) -> Tensor:
    """``x`` where valid, ``other`` elsewhere; ``valid [B, m]`` goes with ``x [B, n, m]``."""
    (x,) = _values("where_valid", x=x)
    return torch.where(_mask("where_valid", x, valid), x, float(other))


def count(valid: Tensor) -> Tensor:
    """How many over the last axis are not 0."""
    if not isinstance(valid, Tensor):
        _values("count", valid=valid)
    mask = valid if valid.dtype == torch.bool else valid != 0
    return _kept(mask, mask.float().sum(dim=-1, keepdim=True))


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Mean over the last axis of what is valid; 0 where nothing is."""
    (x,) = _values("masked_mean", x=x)
    mask = _mask("masked_mean", x, valid).to(x.dtype)
    total = (x * mask).sum(dim=-1, keepdim=True)
    return _kept(x, total / mask.expand_as(x).sum(dim=-1, keepdim=True).clamp(min=1.0))


def others_mean(x: Tensor) -> Tensor:
    """For each agent the mean of all other agents' values: ``[B, n]`` gives ``[B, n]``."""
    (x,) = _values("others_mean", x=x)
    if x.dim() != 2:
        _refuse("others_mean(x)", "a value for each agent [B, n]", x=x)
    return (x.sum(dim=1, keepdim=True) - x) / max(1, x.shape[1] - 1)


def soft_min(x: Tensor, temperature: float = 1.0) -> Tensor:
    """Smooth minimum over the last axis, between the least value and the mean: ``-T log mean
    exp(-x / T)``. It rises with every x."""
    (x,) = _values("soft_min", x=x)
    t = _positive("soft_min(x, temperature)", temperature)
    folded = torch.logsumexp(-x / t, dim=-1, keepdim=True)
    return _kept(x, t * (math.log(x.shape[-1]) - folded))


def soft_max(x: Tensor, temperature: float = 1.0) -> Tensor:
    """Smooth maximum over the last axis, between the mean and the largest value: ``T log mean
    exp(x / T)``. It rises with every x."""
    return -soft_min(-_values("soft_max", x=x)[0], temperature)


HELPERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        pairwise_distance, length, near, nearest, furthest, at_nearest, share, fraction_of, scaled,
        where_valid, count, masked_mean, others_mean, soft_min, soft_max,
    )
}  # fmt: skip


def _values(title: str, **given: Any) -> list[Tensor]:
    """Tensors of numbers, from tensors of any kind and from numbers."""
    found = []
    for name, value in given.items():
        if isinstance(value, (int, float)) and name == "whole":
            value = torch.tensor(float(value))
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise CandidateError(
                "export.helper", f"`{title}`: {name} must be a tensor, not a {kind}"
            )
        found.append(value if value.is_floating_point() else value.float())
    return found


def _positive(title: str, value: Any) -> float:
    if isinstance(value, Tensor) or not isinstance(value, (int, float)) or not value > 0:
        raise CandidateError("export.helper", f"`{title}` takes a fixed number above 0 there")
    return float(value)


def _kept(x: Tensor, folded: Tensor) -> Tensor:
    """The last axis goes, unless a column for each row is left: ``[B, n]`` gives ``[B, 1]``."""
    return folded if x.dim() <= 2 else folded.squeeze(-1)


def _mask(title: str, x: Tensor, valid: Any) -> Tensor:
    """What is not 0 in ``valid``, in a shape that goes with ``x``."""
    if not isinstance(valid, Tensor):
        raise CandidateError("export.helper", f"`{title}`: valid must be a tensor")
    x, mask = _together(f"{title}(x, valid)", x, valid)
    return mask if mask.dtype == torch.bool else mask != 0


def _together(title: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``y`` in a shape that broadcasts with ``x``: ``[B, m]`` as ``[B, 1, m]`` beside pairs.

    Beside pairs ``[B, n, n]`` a value ``[B, n]`` belongs to the last axis.
    """
    if x.dim() == 3 and y.dim() == 2:
        if y.shape[1] in (x.shape[2], 1):
            y = y.unsqueeze(1)
        elif y.shape[1] == x.shape[1]:
            y = y.unsqueeze(2)
    fits = y.dim() in (0, x.dim()) and all(
        b in (a, 1) for a, b in zip(x.shape[1:], y.shape[1:], strict=False)
    )
    if not fits:
        _refuse(title, "two tensors that go together", first=x, second=y)
    return x, y


def _refuse(title: str, wanted: str, **given: Tensor) -> NoReturn:
    had = ", ".join(f"{name} is {_shape(x)}" for name, x in given.items())
    raise CandidateError("export.helper", f"`{title}` takes {wanted}; here {had}")


def _shape(x: Tensor) -> str:
    sizes = [str(n) if isinstance(n, int) else "B" for n in x.shape]
    return f"[{', '.join(sizes)}]"
