"""Rebuild a credit graph as a PyTorch module: the one that is proved, tested and trained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.graph import Arg, Batch, CreditGraph, DTypeArg, Ref, refs_of
from sandbox.table import OPS

_DTYPES = {"int64": torch.int64, "bool": torch.bool}


def _resolve(name: str) -> Callable[..., Any]:
    # `name` is a key of OPS: our own text, never the candidate's.
    _, packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


_CALLS: dict[str, Callable[..., Any]] = {name: _resolve(name) for name in OPS}

FLOAT_BY_DEFAULT = {
    f"aten.{n}" for n in "zeros.default ones.default full.default scalar_tensor.default "
    "eye.default eye.m linspace.default".split()
}  # fmt: skip
CREATE = {name for name, spec in OPS.items() if spec.family == "create"}


# ---- operations that need care -------------------------------------------------------------------


def _clamp_index(index: Tensor, size: int, wraps: bool) -> Tensor:
    """Indices forced into range: an index error on a GPU would take the trainer down."""
    return index.clamp(-size if wraps else 0, size - 1)


def _gather(x: Tensor, dim: int, index: Tensor, sparse_grad: bool = False) -> Tensor:
    return torch.gather(x, dim, _clamp_index(index, x.shape[dim], False))


def _index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return torch.index_select(x, dim, _clamp_index(index, x.shape[dim], False))


def _scatter_src(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return torch.scatter(x, dim, _clamp_index(index, x.shape[dim], False), src)


def _scatter_value(x: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    return torch.scatter(x, dim, _clamp_index(index, x.shape[dim], False), value)


def _scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return torch.scatter_add(x, dim, _clamp_index(index, x.shape[dim], False), src)


def _safe_indices(x: Tensor, indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [
        None if index is None else _clamp_index(index, x.shape[at], True)
        for at, index in enumerate(indices)
    ]


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    return torch.ops.aten.index.Tensor(x, _safe_indices(x, indices))


def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    mask = indices[0]
    if mask is None or mask.dtype != torch.bool:
        return torch.ops.aten.index_put.default(x, _safe_indices(x, indices), values, accumulate)
    # Each element that the mask picks gets the same value: the table refuses any other write.
    rest = x.dim() - mask.dim()
    wide = mask.reshape((*mask.shape, *(1,) * rest))
    tail = values.shape[values.dim() - rest :] if values.dim() > rest else values.shape
    return torch.where(wide, values.reshape(tail), x)


def _median(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    # On an expanded tensor torch 2.13 reads memory that nobody wrote.
    return torch.ops.aten.median.dim(x.contiguous(), dim, keepdim)


_LEAST_INT64 = -(2**63)
_MOST_WHOLE = 2.0**53


def _whole_divisor(call: Callable[..., Tensor], quotient: bool) -> Callable[..., Tensor]:
    """Division of whole numbers that is total: torch's traps where its quotient does not exist.

    By zero it divides by one. The least integer divided by -1, which overflows, stays as it is.
    """

    def divide(a: Tensor, b: Any, **named: Any) -> Tensor:
        is_float = b.is_floating_point() if isinstance(b, Tensor) else type(b) is float
        if a.is_floating_point() or is_float:
            return call(a, b, **named)
        if not isinstance(b, Tensor):  # which the table has seen not to be zero
            if b != -1:
                return call(a, b, **named)
            whole = a.long()
            return -whole if quotient else torch.zeros_like(whole)
        traps = (b == 0) | ((b == -1) & (a == _LEAST_INT64))
        made = call(a, torch.where(traps, 1, b), **named)
        return made if quotient else made.masked_fill(traps, 0)

    return divide


def _to_copy(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A conversion that is total: what has no whole number becomes 0 or the nearest of 2^53."""
    if dtype == torch.int64 and x.is_floating_point():
        x = torch.nan_to_num(x, nan=0.0, posinf=_MOST_WHOLE, neginf=-_MOST_WHOLE)
        x = x.clamp(-_MOST_WHOLE, _MOST_WHOLE)
    return torch.ops.aten._to_copy.default(x, dtype=dtype)


CAREFUL: dict[str, Callable[..., Any]] = {
    "aten.gather.default": _gather,
    "aten.index_select.default": _index_select,
    "aten.scatter.src": _scatter_src,
    "aten.scatter.value": _scatter_value,
    "aten.scatter_add.default": _scatter_add,
    "aten.index.Tensor": _index,
    "aten.index_put.default": _index_put,
    "aten.median.dim": _median,
    "aten._to_copy.default": _to_copy,
}
"""Operations with a function of this module in their place."""
_CALLS |= CAREFUL
# The same numbers, but with a derivative (zero almost everywhere).
_CALLS["aten.floor_divide.default"] = functools.partial(torch.div, rounding_mode="floor")
WHOLE_DIVISIONS = {
    f"aten.{name}": name.startswith(("floor", "div"))
    for name in (
        "remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar floor_divide.default "
        "div.Tensor_mode div.Scalar_mode"
    ).split()
}
"""Divisions that are made total, and whether each gives the quotient."""
_CALLS |= {
    name: _whole_divisor(_CALLS[name], quotient) for name, quotient in WHOLE_DIVISIONS.items()
}


def operation_call(name: str) -> Callable[..., Any]:
    """The function behind an operation of the list; KeyError for any other name."""
    return _CALLS[name]


# ---- arguments, prepared once --------------------------------------------------------------------

_Prepared = Callable[[Sequence[Any], int, torch.dtype], Any]


def _prepared(arg: Arg) -> Any:
    """An argument as it is, or as a function of the values so far, the batch and the dtype."""
    if isinstance(arg, Ref):
        return _reference(arg)
    if isinstance(arg, Batch):
        return lambda values, batch, dtype: arg.c0 + arg.c1 * batch
    if isinstance(arg, DTypeArg):
        return lambda values, batch, dtype: _DTYPES.get(arg.name, dtype)
    if type(arg) is tuple:
        parts = [_prepared(a) for a in arg]
        if not any(map(callable, parts)):
            return parts
        return lambda values, batch, dtype: [
            p(values, batch, dtype) if callable(p) else p for p in parts
        ]
    return arg


def _reference(ref: Ref) -> _Prepared:
    number = ref.value
    if ref.out:
        return lambda values, batch, dtype: _pick(values, ref)

    def read(values: Sequence[Any], batch: int, dtype: torch.dtype) -> Any:
        value = values[number]
        return value if isinstance(value, Tensor) else _pick(values, ref)

    return read


# ---- the module ----------------------------------------------------------------------------------


class CreditFunction(nn.Module):
    """A gated credit graph as a module without parameters.

    Device and dtype follow the inputs; autograd and ``torch.compile`` work through it; the same
    inputs give the same bits. Computed indices are clamped into range.
    """

    def __init__(self, graph: CreditGraph) -> None:
        super().__init__()
        self.graph = graph
        self._program = [
            (
                _CALLS[o.op], o.op, tuple(map(_prepared, o.args)),
                tuple((k, _prepared(v)) for k, v in o.kwargs),
            )
            for o in graph.operations
        ]  # fmt: skip
        self._done_with = _last_readers(graph)
        self._constants: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        """q_tot [B, 1] from ``agent_qs`` [B, n_agents] and ``state`` [B, state_dim]."""
        return self.outputs(agent_qs, state)["q_tot"]

    def outputs(self, agent_qs: Tensor, state: Tensor) -> dict[str, Tensor]:
        """All named outputs; in weights form the gated ``weights`` and the ``bias`` as well."""
        values = self._evaluate(agent_qs, state, self._done_with)
        return {name: _pick(values, ref) for name, ref in self.graph.outputs.items()}

    def evaluate(self, agent_qs: Tensor, state: Tensor) -> list[Any]:
        """Every value of the graph, by its number."""
        return self._evaluate(agent_qs, state, {})

    def _evaluate(
        self, agent_qs: Tensor, state: Tensor, done_with: Mapping[int, Sequence[int]]
    ) -> list[Any]:
        """Values by number; those that nothing reads any more are let go of."""
        dtype = torch.promote_types(agent_qs.dtype, state.dtype)
        values = self.inputs(agent_qs.to(dtype), state.to(dtype))
        for index in range(len(self._program)):
            values.append(self.call(index, values, state.shape[0], state.device, dtype))
            for number in done_with.get(index, ()):
                values[number] = None
        return values

    def inputs(self, agent_qs: Tensor, state: Tensor) -> list[Any]:
        """The values that stand before the first operation."""
        device, dtype = state.device, state.dtype
        key = (device, dtype)
        if key not in self._constants:
            with torch.inference_mode(False):  # they outlive the mode that the caller may be in
                self._constants[key] = self._make_constants(device, dtype)
        return [agent_qs, state, *self._constants[key]]

    def call(
        self, index: int, values: Sequence[Any], batch: int, device: torch.device,
        dtype: torch.dtype,
    ) -> Any:  # fmt: skip
        """The result of operation ``index`` on the values before it."""
        call, name, args, kwargs = self._program[index]
        built = [a(values, batch, dtype) if callable(a) else a for a in args]
        named = {k: a(values, batch, dtype) if callable(a) else a for k, a in kwargs}
        if name in CREATE:
            named["device"] = device
            ranged = name.startswith("aten.arange") and any(type(a) is float for a in built)
            if (ranged or name in FLOAT_BY_DEFAULT) and named.get("dtype") is None:
                named["dtype"] = dtype
        elif name.startswith("aten.where.Scalar"):
            built = [_as_tensor(a, dtype, device) for a in built]
            call = torch.where
        made = call(*built, **named)
        if isinstance(made, Tensor) and made.is_floating_point() and made.dtype != dtype:
            # Whole numbers alone become floats of torch's default dtype.
            made = call(*(_as_float(b, dtype) for b in built), **named)
        return made

    def _make_constants(self, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        return [
            torch.tensor(c.data, dtype=_DTYPES.get(c.dtype, dtype), device=device).reshape(c.shape)
            for c in self.graph.constants
        ]


def _last_readers(graph: CreditGraph) -> dict[int, list[int]]:
    """By operation's index, the values that nothing after it reads."""
    last = {r.value: i for i, o in enumerate(graph.operations) for r in refs_of(o)}
    kept = {ref.value for ref in graph.outputs.values()}
    done: dict[int, list[int]] = {}
    for number, index in last.items():
        if number not in kept:
            done.setdefault(index, []).append(number)
    return done


def _as_tensor(a: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A plain number as a tensor: a float in the inputs' dtype, whatever torch's default is."""
    if isinstance(a, Tensor):
        return a
    kind = {float: dtype, bool: torch.bool}.get(type(a), torch.int64)
    return torch.scalar_tensor(a, dtype=kind, device=device)


def _as_float(a: Any, dtype: torch.dtype) -> Any:
    """A tensor in the inputs' dtype; anything else as it is."""
    return a.to(dtype) if isinstance(a, Tensor) else a


def _pick(values: Sequence[Any], ref: Ref) -> Tensor:
    value = values[ref.value]
    return value if isinstance(value, Tensor) else value[ref.out]
