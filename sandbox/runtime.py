"""Rebuild a credit graph as a PyTorch module: the one that is proved, tested and trained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.graph import FIRST_CONSTANT, Arg, Batch, CreditGraph, DTypeArg, GraphError, Ref
from sandbox.ops import OPS

MAX_RESULTS = 64
"""Tensors that one operation may result in."""

_DTYPES = {"int64": torch.int64, "bool": torch.bool}


def _resolve(name: str) -> Callable[..., Any]:
    # `name` is a key of OPS: our own text, never the candidate's.
    _, packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


_CALLS: dict[str, Callable[..., Any]] = {name: _resolve(name) for name in OPS}

_FLOAT_BY_DEFAULT = {
    f"aten.{n}" for n in "zeros.default ones.default full.default scalar_tensor.default "
    "eye.default eye.m linspace.default".split()
}  # fmt: skip
_CREATE = {name for name, spec in OPS.items() if spec.family == "create"}


# ---- operations that need care -------------------------------------------------------------------


def _clamp_index(index: Tensor, size: int, wraps: bool) -> Tensor:
    """Indices forced into range: an index error on a GPU would take the trainer down."""
    if index.dtype == torch.bool:
        return index
    if not size:
        raise GraphError("an index into a dimension without elements", "graph.arguments")
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
    safe: list[Tensor | None] = []
    at = 0
    for index in indices:
        if index is None or index.dtype == torch.bool:
            safe.append(index)
            at += 1 if index is None else index.dim()
        else:
            safe.append(_clamp_index(index, x.shape[at], True))
            at += 1
    return safe


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    if any(i is not None and i.dtype == torch.bool for i in indices):
        raise GraphError(
            "reading with a boolean mask gives a result whose size depends on values; "
            "use torch.where(mask, x, other) instead",
            "graph.data_dependent",
        )
    return torch.ops.aten.index.Tensor(x, _safe_indices(x, indices))


def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    mask = indices[0] if len(indices) == 1 else None
    if mask is None or mask.dtype != torch.bool:
        if any(i is not None and i.dtype == torch.bool for i in indices):
            raise GraphError(_MASKED_WRITE, "graph.data_dependent")
        return torch.ops.aten.index_put.default(x, _safe_indices(x, indices), values, accumulate)
    # How many elements the mask picks depends on values, so each must get the same.
    rest = x.dim() - mask.dim()
    if accumulate or any(n != 1 for n in values.shape[: max(0, values.dim() - rest)]):
        raise GraphError(_MASKED_WRITE, "graph.data_dependent")
    if mask.shape != x.shape[: mask.dim()]:
        raise GraphError("a mask must have the shape of what it selects from", "graph.arguments")
    wide = mask.reshape((*mask.shape, *(1,) * rest))
    return torch.where(wide, values.reshape(values.shape[-rest:] if rest else ()), x)


def _median(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    # On an expanded tensor torch 2.13 reads memory that nobody wrote.
    return torch.ops.aten.median.dim(x.contiguous(), dim, keepdim)


_MASKED_WRITE = (
    "writing one value for each place where a mask holds depends on how many there are; use "
    "torch.where(mask, values, x) instead"
)


def _whole_divisor(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Division of whole numbers: by zero it is an error on a CPU and undefined on a GPU."""

    def divide(a: Any, b: Any, **named: Any) -> Tensor:
        whole = isinstance(a, Tensor) and not a.is_floating_point()
        if whole and isinstance(b, Tensor) and not b.is_floating_point():
            b = torch.where(b == 0, torch.ones_like(b), b)
        elif whole and type(b) in (int, bool) and b == 0:
            raise GraphError("division of whole numbers by zero", "graph.arguments")
        return call(a, b, **named)

    return divide


def _bounded_results(call: Callable[..., Any], unbind: bool) -> Callable[..., Any]:
    """Refuse to take a tensor apart into more tensors than an operation may have."""

    def apart(x: Tensor, *rest: Any) -> Any:
        at = rest[0 if unbind else 1] if len(rest) > (0 if unbind else 1) else 0
        size = 1 if unbind or not rest else rest[0]
        if type(at) is not int or type(size) is not int or x.shape[at] > MAX_RESULTS * max(1, size):
            raise GraphError(f"a tensor in over {MAX_RESULTS} parts", "graph.size")
        return call(x, *rest)

    return apart


_CALLS |= {
    "aten.gather.default": _gather,
    "aten.index_select.default": _index_select,
    "aten.scatter.src": _scatter_src,
    "aten.scatter.value": _scatter_value,
    "aten.scatter_add.default": _scatter_add,
    "aten.index.Tensor": _index,
    "aten.index_put.default": _index_put,
    "aten.median.dim": _median,
    "aten.split.Tensor": _bounded_results(_CALLS["aten.split.Tensor"], False),
    "aten.unbind.int": _bounded_results(_CALLS["aten.unbind.int"], True),
}
# The same numbers, but with a derivative (zero almost everywhere).
_CALLS["aten.floor_divide.default"] = functools.partial(torch.div, rounding_mode="floor")
_CALLS |= {
    name: _whole_divisor(_CALLS[name])
    for name in (
        *("aten.remainder.Tensor", "aten.remainder.Scalar", "aten.fmod.Tensor", "aten.fmod.Scalar"),
        *("aten.floor_divide.default", "aten.div.Tensor_mode", "aten.div.Scalar_mode"),
    )
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
                tuple((k, _prepared(v)) for k, v in o.kwargs), o.line,
            )
            for o in graph.operations
        ]  # fmt: skip
        self._constants: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        """q_tot [B, 1] from ``agent_qs`` [B, n_agents] and ``state`` [B, state_dim]."""
        values = self.evaluate(agent_qs, state)
        return _pick(values, self.graph.outputs["q_tot"])

    def outputs(self, agent_qs: Tensor, state: Tensor) -> dict[str, Tensor]:
        """All named outputs; in weights form the gated ``weights`` and the ``bias`` as well."""
        values = self.evaluate(agent_qs, state)
        return {name: _pick(values, ref) for name, ref in self.graph.outputs.items()}

    def evaluate(self, agent_qs: Tensor, state: Tensor) -> list[Any]:
        """Every value of the graph, by its number."""
        dtype = torch.promote_types(agent_qs.dtype, state.dtype)
        values = self.inputs(agent_qs.to(dtype), state.to(dtype))
        for index in range(len(self._program)):
            values.append(self.call(index, values, state.shape[0], state.device, dtype))
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
        """The result of operation ``index`` on the values before it.

        Raises:
            GraphError: it refers to a result that is not there, or its size depends on values.
        """
        call, name, args, kwargs, line = self._program[index]
        try:
            built = [a(values, batch, dtype) if callable(a) else a for a in args]
            named = {k: a(values, batch, dtype) if callable(a) else a for k, a in kwargs}
            if name in _CREATE:
                named["device"] = device
                ranged = name.startswith("aten.arange") and any(type(a) is float for a in built)
                if ranged or name in _FLOAT_BY_DEFAULT:
                    named.setdefault("dtype", dtype)
            elif name.startswith("aten.where.Scalar"):
                built = [_as_tensor(a, dtype, device) for a in built]
                call = torch.where
            made = call(*built, **named)
            if isinstance(made, Tensor) and made.is_floating_point() and made.dtype != dtype:
                # Whole numbers alone become floats of torch's default dtype.
                made = call(*(_as_float(b, dtype) for b in built), **named)
            return made
        except GraphError as error:
            error.line = error.line or line
            raise

    def _make_constants(self, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        return [
            torch.tensor(c.data, dtype=_DTYPES.get(c.dtype, dtype), device=device).reshape(c.shape)
            for c in self.graph.constants
        ]

    def value_name(self, number: int) -> str:
        """How messages name a value: an input, a constant, or an operation with its line."""
        if number < FIRST_CONSTANT:
            return ("agent_qs", "state")[number]
        if number < self.graph.first_operation:
            return f"constant {number - FIRST_CONSTANT}"
        o = self.graph.operations[number - self.graph.first_operation]
        short = o.op.split(".")[1]
        return f"{short} (line {o.line})" if o.line else short


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
    if isinstance(value, Tensor):
        if ref.out:
            raise GraphError("an operation with one result was asked for another")
        return value
    try:
        picked = value[ref.out]
    except IndexError:
        raise GraphError("an operation was asked for a result that it does not have") from None
    if not isinstance(picked, Tensor):
        raise GraphError("an operation's result is not a tensor")
    return picked
