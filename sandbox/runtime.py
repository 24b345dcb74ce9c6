"""Rebuild a credit graph as a PyTorch module: the one that is proved, tested and trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.graph import FIRST_CONSTANT, Arg, Batch, CreditGraph, DTypeArg, GraphError, Ref
from sandbox.ops import OPS

_DTYPES = {"int64": torch.int64, "bool": torch.bool}


def _resolve(name: str) -> Callable[..., Any]:
    # `name` is a key of OPS: our own text, never the candidate's.
    _, packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


_CALLS: dict[str, Callable[..., Any]] = {name: _resolve(name) for name in OPS}

_FLOAT_BY_DEFAULT = {
    f"aten.{n}" for n in "zeros.default ones.default full.default scalar_tensor.default eye.default "
    "eye.m linspace.default".split()
}  # fmt: skip
_CREATE = {name for name, spec in OPS.items() if spec.family == "create"}


# ---- operations that need care -------------------------------------------------------------------


def _clamp_index(index: Tensor, size: int, wraps: bool) -> Tensor:
    """Indices forced into range: an index error on a GPU would take the trainer down."""
    return index.clamp(-size if wraps else 0, size - 1) if index.dtype != torch.bool else index


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
    return torch.ops.aten.index_put.default(x, _safe_indices(x, indices), values, accumulate)


def _scalar_where(condition: Tensor, a: Any, b: Any) -> Tensor:
    # Plain numbers would become float32 tensors here, whatever the inputs' dtype.
    return torch.where(condition, a, b)


_CALLS |= {
    "aten.gather.default": _gather,
    "aten.index_select.default": _index_select,
    "aten.scatter.src": _scatter_src,
    "aten.scatter.value": _scatter_value,
    "aten.scatter_add.default": _scatter_add,
    "aten.index.Tensor": _index,
    "aten.index_put.default": _index_put,
    "aten.where.Scalar": _scalar_where,
}


def operation_call(name: str) -> Callable[..., Any]:
    """The function behind an operation of the list; KeyError for any other name."""
    return _CALLS[name]


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
            (_CALLS[o.op], o.op, o.args, dict(o.kwargs), o.line) for o in graph.operations
        ]
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
        agent_qs, state = agent_qs.to(dtype), state.to(dtype)
        batch, device = state.shape[0], state.device
        key = (device, dtype)
        if key not in self._constants:
            self._constants[key] = self._make_constants(device, dtype)
        values: list[Any] = [agent_qs, state, *self._constants[key]]

        def build(arg: Arg) -> Any:
            if type(arg) is Ref:
                return _pick(values, arg)
            if type(arg) is tuple:
                return [build(a) for a in arg]
            if type(arg) is Batch:
                return arg.c0 + arg.c1 * batch
            if type(arg) is DTypeArg:
                return _DTYPES.get(arg.name, dtype)
            return arg

        for call, name, args, kwargs, line in self._program:
            built = [build(a) for a in args]
            named = {k: build(v) for k, v in kwargs.items()}
            if name in _CREATE:
                named["device"] = device
                if name in _FLOAT_BY_DEFAULT:
                    named.setdefault("dtype", dtype)
            elif name.startswith("aten.where.Scalar"):
                built = [
                    torch.scalar_tensor(x, dtype=dtype if type(x) is float else None, device=device)
                    if not isinstance(x, Tensor)
                    else x
                    for x in built
                ]
                call = torch.where
            try:
                values.append(call(*built, **named))
            except GraphError as error:
                error.line = error.line or line
                raise
        return values

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
