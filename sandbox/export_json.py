"""Write a traced candidate as credit-graph JSON. Used only in the candidate's child."""

from __future__ import annotations

import math
import operator
from typing import Any

import sympy
import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class ExportError(Exception):
    """The candidate cannot be exported; rule, message and line for the coder."""

    def __init__(self, rule: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.line = rule, message, line


def linear_in_batch(size: Any) -> tuple[int, int] | None:
    """A size as (c0, c1) of c0 + c1 * B, or None."""
    if isinstance(size, int):
        return size, 0
    expr = size.node.expr if isinstance(size, torch.SymInt) else size
    symbols = list(expr.free_symbols)
    if not symbols:
        return int(expr), 0
    if len(symbols) > 1 or not str(symbols[0]).startswith("s"):
        return None
    c1 = expr.coeff(symbols[0], 1)
    c0 = sympy.expand(expr - c1 * symbols[0])
    if c0.free_symbols or not (c0.is_Integer and c1.is_Integer):
        return None
    return int(c0), int(c1)


_DROPPED_KEYWORDS = {"device", "layout", "pin_memory", "memory_format", "non_blocking"}
_SAME_VALUE = {
    "aten.alias.default", "aten.clone.default", "aten.lift_fresh_copy.default",
    "aten.detach.default", "aten.view.dtype",
}  # fmt: skip
_MAX = 9223372036854775807
_LARGEST = 2**53
_SLICE_ENDS = {"aten.slice.Tensor": (2, 3), "aten.slice_scatter.default": (3, 4)}
"""Where arguments stand that say "to the end" by a huge number."""


class _Writer:
    """Numbers values and writes operations; identities are dropped on the way."""

    def __init__(self, made: Any) -> None:
        self.module = made
        self.constants: list[dict[str, Any]] = []
        self.operations: list[dict[str, Any]] = []
        self.place: dict[Any, Any] = {}

    def write(self) -> dict[str, Any]:
        nodes = list(self.module.graph.nodes)
        from_constant: set[Any] = set()
        literals = [n for n in nodes if n.op == "get_attr"]
        for i, node in enumerate(literals):
            self.constants.append(_constant(getattr(self.module, node.target)))
            self.place[node] = {"value": 2 + i}
            from_constant.add(node)
        self.first = 2 + len(literals)
        for i, node in enumerate(n for n in nodes if n.op == "placeholder"):
            self.place[node] = {"value": i}
        for node in nodes:
            if node.op == "call_function":
                self._call(node, from_constant)
            elif node.op == "output":
                results = [self._arg(a, None) for a in node.args[0]]
        return {"constants": self.constants, "operations": self.operations, "results": results}

    def _call(self, node: Any, from_constant: set[Any]) -> None:
        name = str(node.target)
        line = node.meta.get("candidate_line")
        value = node.meta.get("val")
        if not isinstance(value, Tensor) and not isinstance(value, (tuple, list)):
            return  # arithmetic on sizes: written as c0 + c1 * B where it is used
        if node.target is operator.getitem:
            source = self.place[node.args[0]]
            self.place[node] = {"value": source["value"], "out": node.args[1]}
            return
        if name == "aten.slice.Tensor" and _whole_slice(node):
            self.place[node] = self.place[node.args[0]]
            return
        if name == "aten.slice_scatter.default" and _whole_slice(node, skip=1):
            self.place[node] = self._expanded(node.args[1], node.args[0], line)
            return
        if name == "aten.detach.default" and node.args[0] not in from_constant:
            raise ExportError("policy.detach", "gradients must reach agent_qs", line)
        if name == "aten.view.dtype" and node.meta["val"].dtype != node.args[0].meta["val"].dtype:
            raise ExportError(
                "export.dtype", "`.view(dtype)` reads bits as another type; use `.to(dtype)`", line
            )
        if name in _SAME_VALUE:
            self.place[node] = self.place[node.args[0]]
            if node.args[0] in from_constant:
                from_constant.add(node)
            return
        if name == "aten.copy_.default":
            raise ExportError(
                "export.mutation",
                "the function writes into its own arguments, or into a tensor made outside it; "
                "work on a copy: `x = state.clone()`",
                line or node.args[1].meta.get("candidate_line"),  # copied back after it returned
            )
        if name == "aten.copy.default":
            self.place[node] = self._expanded(node.args[1], node.args[0], line)
            return
        if name in ("aten.view.default", "aten._unsafe_view.default"):
            name = "aten.reshape.default"  # strides are not kept, so a view may need a copy
        given = list(node.args)
        for at in _SLICE_ENDS.get(name, ()):
            if at < len(given) and isinstance(given[at], int):
                given[at] = max(-_LARGEST, min(_LARGEST, given[at]))
        kwargs = {k: v for k, v in node.kwargs.items() if k not in _DROPPED_KEYWORDS}
        kwargs = {k: self._arg(v, line) for k, v in kwargs.items() if v is not None}
        if isinstance(value, Tensor) and name in _DTYPED:
            kwargs["dtype"] = _dtype(value.dtype, line)
        self._append(node, name, [self._arg(a, line) for a in given], kwargs, line)

    def _expanded(self, source: Any, target: Any, line: int | None) -> Any:
        """``source`` in the shape and dtype of ``target``: what a whole write amounts to."""
        have, want = source.meta["val"], target.meta["val"]
        current = self._arg(source, line)
        if have.dtype != want.dtype:
            kwargs = {"dtype": _dtype(want.dtype, line)}
            current = self._append(None, "aten._to_copy.default", [current], kwargs, line)
        if tuple(have.shape) != tuple(want.shape):
            sizes = [self._size(n, line) for n in want.shape]
            current = self._append(None, "aten.expand.default", [current, sizes], {}, line)
        return current

    def _append(
        self, node: Any, name: str, args: list[Any], kwargs: dict[str, Any], line: int | None
    ) -> dict[str, Any]:
        operation: dict[str, Any] = {"op": name, "args": args}
        if kwargs:
            operation["kwargs"] = kwargs
        if line:
            operation["line"] = line
        self.operations.append(operation)
        made = {"value": self.first + len(self.operations) - 1}
        if node is not None:
            self.place[node] = made
        return made

    def _size(self, n: Any, line: int | None) -> Any:
        pair = linear_in_batch(n)
        if pair is None:
            raise ExportError(
                "export.data_dependent",
                "a size depends on values; use torch.where(mask, x, other) instead of selecting",
                line,
            )
        return pair[0] if not pair[1] else {"batch": [pair[0], pair[1]]}

    def _arg(self, a: Any, line: int | None) -> Any:
        if isinstance(a, torch.fx.Node):
            value = a.meta.get("val")
            if isinstance(value, (torch.SymInt, int)):
                return self._size(value, line)
            if a not in self.place:  # a real number or a truth made of it
                raise ExportError(
                    "export.batch",
                    "a number made from the batch size has no place in a credit function: a row's "
                    "value must not depend on how many rows there are",
                    line,
                )
            return self.place[a]
        if isinstance(a, (list, tuple)):
            return [self._arg(x, line) for x in a]
        if isinstance(a, torch.dtype):
            return _dtype(a, line)
        if isinstance(a, torch.SymInt):
            return self._size(a, line)
        if isinstance(a, int) and not isinstance(a, bool):
            if abs(a) > _LARGEST:
                raise ExportError(
                    "policy.number",
                    f"the integer {a} is too large beside a tensor; write it as a float",
                    line,
                )
            return a
        if a is None or isinstance(a, (bool, str)):
            return a
        if isinstance(a, float):
            return _number(a)
        raise ExportError(
            "export.argument", f"an argument of type {type(a).__name__} cannot be exported", line
        )


_DTYPED = {
    f"aten.{n}" for n in "zeros.default ones.default full.default scalar_tensor.default "
    "zeros_like.default ones_like.default full_like.default new_zeros.default new_ones.default "
    "new_full.default arange.default arange.start arange.start_step eye.default eye.m "
    "linspace.default _to_copy.default".split()
}  # fmt: skip


def _whole_slice(node: Any, skip: int = 0) -> bool:
    """Whether a slice (or, with one argument skipped, a slice write) covers its whole dimension."""
    given: tuple[Any, ...] = tuple(node.args[1 + skip :])
    defaults: tuple[Any, ...] = (0, None, None, 1)
    dim, start, end, step = (*given, *defaults[len(given) :])
    size = node.args[0].meta["val"].shape[dim]
    to_end = end in (None, _MAX) or (isinstance(size, int) and isinstance(end, int) and end >= size)
    return start in (0, None) and step == 1 and to_end


def _dtype(d: torch.dtype, line: int | None) -> dict[str, str]:
    if d in FLOATS:
        return {"dtype": "float"}
    if d in INTS:
        return {"dtype": "int64"}
    if d == torch.bool:
        return {"dtype": "bool"}
    raise ExportError("export.dtype", f"tensors of {d} are not available", line)


def _number(x: float) -> Any:
    if isinstance(x, float) and not math.isfinite(x):
        return {"float": "nan" if x != x else "inf" if x > 0 else "-inf"}
    return x


def _constant(value: Tensor) -> dict[str, Any]:
    if value.numel() > 65_536:
        raise ExportError(
            "graph.size", f"a literal tensor of {value.numel():,} numbers is too large"
        )
    kind = _dtype(value.dtype, None)["dtype"]
    data = value.detach().reshape(-1).tolist()
    return {"dtype": kind, "shape": list(value.shape), "data": [_number(x) for x in data]}


def to_json(made: Any, n_agents: int, state_dim: int, schema_hash: str, weights_form: bool) -> Any:
    """Credit-graph JSON (ungated) of a traced candidate.

    Raises:
        ExportError: something in it has no place in a credit graph.
    """
    written = _Writer(made).write()
    outputs = ("weights", "bias") if weights_form else ("q_tot",)
    return {
        "format": "qllm-credit-graph",
        "version": 1,
        "signature": "weights" if weights_form else "mixing",
        "n_agents": n_agents,
        "state_dim": state_dim,
        "schema_hash": schema_hash,
        "gate": None,
        "constants": written["constants"],
        "operations": written["operations"],
        "outputs": dict(zip(outputs, written["results"], strict=True)),
    }
