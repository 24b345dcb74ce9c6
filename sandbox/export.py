"""From a running candidate to credit-graph JSON. Used only in the candidate's child.

The candidate runs once on tensors without data whose batch size is a symbol, under the tracer that
``torch.export`` itself uses (``make_fx`` with functionalisation below autograd), so writes become
functional operations. Calling it directly skips export's own passes, which took two thirds of the
time and none of which this format needs.
"""

from __future__ import annotations

import logging
import math
import operator
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import sympy
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    GuardOnDataDependentSymNode,
    ShapeEnv,
    StatelessSymbolicContext,
)

from sandbox.facade import CandidateError, make_namespace
from sandbox.policy import FILE_NAME, CheckedSource

logging.getLogger("torch").setLevel(logging.CRITICAL)  # failures are findings, not log lines

MAX_TRACED = 3_000
"""Operations that a trace may take; a graph, which leaves many of them out, may hold fewer."""

_EXAMPLE_BATCH = 7
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class ExportError(Exception):
    """The candidate cannot be exported; rule, message and line for the coder."""

    def __init__(self, rule: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.line = rule, message, line


def load(checked: CheckedSource) -> Callable[..., Any]:
    """Run the candidate's top level under the facade and return its entry function.

    Raises:
        ExportError: with stage-specific rule ``compile.*``.
    """
    namespace = make_namespace()
    try:
        exec(checked.code, namespace)  # noqa: S102 - inside the locked child, under the policy
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
        raise _explained(error, "compile.toplevel") from None
    entry = namespace.get(checked.entry)
    if not callable(entry):
        raise ExportError("compile.entry", f"`{checked.entry}` is not a function at the end")
    order = checked.parameters

    def call(agent_qs: Tensor, state: Tensor) -> Any:
        given = {"agent_qs": agent_qs, "state": state}
        return entry(*(given[p] for p in order))

    return call


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    text = str(error).partition("Exception raised from")[0]  # then torch lists its own functions
    text = re.sub(r"^/\S+:\d+: ", "", " ".join(text[:4_000].split()))
    text = re.sub(r"\bs\d+\b", "B", text)
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__


_BRANCH = (
    "a Python branch (or conversion) depends on a tensor's values, but every row of the batch may "
    "differ; compute both and choose with torch.where(condition, a, b)"
)
_UNSUPPORTED = (
    "this operation cannot be traced for a batch of any size; say it with simpler ones, such as "
    "arithmetic, torch.where, torch.cat and sums over dim=1"
)
_KNOWN: tuple[tuple[type[Exception], str, str], ...] = (
    (GuardOnDataDependentSymNode, "export.branch", _BRANCH),
    (DataDependentOutputException, "export.branch", _BRANCH),
    (
        RecursionError,
        "export.recursion",
        "the function calls itself, or nests lists in lists; use a loop over a fixed range",
    ),
    (
        MemoryError,
        "export.memory",
        "it takes too much memory; use tensors of [B, n_agents] or the like, and no long lists",
    ),
    (ImportError, "export.unsupported", _UNSUPPORTED),
)
_SIGNS = (
    ("data-dependent", "export.branch", _BRANCH),
    ("Boolean value of Tensor", "export.branch", _BRANCH),
    # What bool(tensor) asks first.
    ("Cannot call numel() on tensor with symbolic sizes", "export.branch", _BRANCH),
    ("with symbolic sizes/strides", "export.unsupported", _UNSUPPORTED),
    ("expected to contain only concrete integers", "export.unsupported", _UNSUPPORTED),
)
"""What torch says about things that cannot be traced, whatever the candidate meant."""


def _explained(error: Exception, otherwise: str) -> ExportError:
    """A candidate's exception as a finding; ``otherwise`` is the rule for unforeseen ones."""
    if isinstance(error, ExportError):
        return error
    line = _line_of(error)
    if isinstance(error, CandidateError):
        return ExportError(error.rule, error.message, line)
    for kind, rule, message in _KNOWN:
        if isinstance(error, kind):
            return ExportError(rule, message, line)
    text = str(error)
    for sign, rule, message in _SIGNS:
        if sign in text:
            return ExportError(rule, message, line)
    return ExportError(otherwise, describe(error), line)


def _line_of(error: BaseException) -> int | None:
    """The innermost line of the candidate's own code that the exception passed through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@contextmanager
def _refuse_branches_on_sizes() -> Iterator[None]:
    """Make ``if B > 1`` an error in the candidate's own frames (torch's own are left alone)."""
    original = torch.SymBool.__bool__

    def watched(self: torch.SymBool) -> bool:
        if sys._getframe(1).f_code.co_filename == FILE_NAME:
            raise CandidateError(
                "export.branch",
                "a branch on the batch size would be fixed at export; treat every batch alike",
            )
        return original(self)

    torch.SymBool.__bool__ = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.SymBool.__bool__ = original  # type: ignore[method-assign]


@contextmanager
def _note_lines() -> Iterator[None]:
    """Note at every traced operation which of the candidate's lines asked for it; count them."""
    original = PythonKeyTracer.create_node
    left = MAX_TRACED

    def create_node(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise CandidateError(
                "graph.size",
                f"the function takes over {MAX_TRACED:,} tensor operations; let one operation "
                "work on all agents at once instead of looping",
            )
        node = original(self, *args, **kwargs)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == FILE_NAME:
                node.meta["candidate_line"] = frame.f_lineno
                break
            frame = frame.f_back
        return node

    PythonKeyTracer.create_node = create_node  # type: ignore[method-assign]
    try:
        yield
    finally:
        PythonKeyTracer.create_node = original  # type: ignore[method-assign]


def trace(function: Callable[..., Any], n_agents: int, state_dim: int, weights_form: bool) -> Any:
    """The candidate as an FX graph below autograd, checked against the contract's shapes.

    Raises:
        ExportError: it fails, branches on values, writes into its arguments, or returns something
            that is not (weights [B, n_agents], bias [B, 1]) or q_tot [B, 1].
    """
    environment = ShapeEnv()
    mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)

    # Equal sizes share one symbol (duck shaping), so both inputs have the same batch size.
    sizes = [DimDynamic.DUCK, DimDynamic.STATIC]
    inputs = [
        mode.from_tensor(
            torch.zeros(_EXAMPLE_BATCH, width),
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes),
        )
        for width in (n_agents, state_dim)
    ]

    def checked(agent_qs: Tensor, state: Tensor) -> Any:
        return _contract(function(agent_qs, state), n_agents, weights_form)

    try:
        with mode, _refuse_branches_on_sizes(), _note_lines():
            made = make_fx(
                functionalize(checked, remove="mutations"),
                tracing_mode="real",
                _allow_non_fake_inputs=True,
            )(*inputs)
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
        raise _explained(error, "export.error") from None
    if environment.guards:
        raise ExportError(
            "export.batch", "the function works for some batch sizes only; treat every batch alike"
        )
    return made


def _contract(result: Any, n_agents: int, weights_form: bool) -> tuple[Tensor, ...]:
    if weights_form:
        if not (isinstance(result, (tuple, list)) and len(result) == 2):
            raise ExportError(
                "export.result",
                f"a function of (state) must return (weights, bias), not {_shown(result)}; weights "
                f"[B, {n_agents}] and bias [B, 1]",
            )
        expected = [("weights", result[0], n_agents), ("bias", result[1], 1)]
    else:
        expected = [("q_tot", result, 1)]
    outputs: list[Tensor] = []
    for name, value, width in expected:
        if not isinstance(value, Tensor):
            raise ExportError("export.result", f"{name} must be a tensor, not {_shown(value)}")
        sizes = list(value.shape)
        if len(sizes) != 2 or _linear(sizes[0]) != (0, 1) or _linear(sizes[1]) != (width, 0):
            hint = ""
            if len(sizes) == 1 and not isinstance(sizes[0], int) and width == 1:
                hint = "; add `.unsqueeze(1)` or sum with keepdim=True"
            elif len(sizes) == 2 and name in ("q_tot", "bias"):
                hint = "; sum over the agents with `.sum(dim=1, keepdim=True)`"
            raise ExportError(
                "export.shape",
                f"{name} has shape {_shape_text(sizes)}; it must be [B, {width}]{hint}",
            )
        if value.dtype not in _FLOATS:
            raise ExportError("export.dtype", f"{name} is {value.dtype}; it must be a float tensor")
        outputs.append(value)
    return tuple(outputs)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {_shape_text(list(value.shape))}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing (is the return missing?)" if value is None else f"a {type(value).__name__}"


def _shape_text(sizes: list[Any]) -> str:
    parts = []
    for n in sizes:
        coefficients = _linear(n)
        if coefficients is None:
            parts.append("?")
        else:
            c0, c1 = coefficients
            b = "" if not c1 else "B" if c1 == 1 else f"{c1}*B"
            parts.append(f"{b}+{c0}" if b and c0 else b or str(c0))
    return f"[{', '.join(parts)}]"


def _linear(size: Any) -> tuple[int, int] | None:
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


# ---- FX graph to JSON ----------------------------------------------------------------------------

_DROPPED_KEYWORDS = {"device", "layout", "pin_memory", "memory_format", "non_blocking"}
_SAME_VALUE = {
    "aten.alias.default", "aten.clone.default", "aten.lift_fresh_copy.default",
    "aten.detach.default", "aten.view.dtype",
}  # fmt: skip
_MAX = 9223372036854775807
_LARGEST = 2**53


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
        kwargs = {k: v for k, v in node.kwargs.items() if k not in _DROPPED_KEYWORDS}
        kwargs = {k: self._arg(v, line) for k, v in kwargs.items() if v is not None}
        if isinstance(value, Tensor) and name in _DTYPED:
            kwargs["dtype"] = _dtype(value.dtype, line)
        self._append(node, name, [self._arg(a, line) for a in node.args], kwargs, line)

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
        pair = _linear(n)
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
            return self.place[a]
        if isinstance(a, (list, tuple)):
            return [self._arg(x, line) for x in a]
        if isinstance(a, torch.dtype):
            return _dtype(a, line)
        if isinstance(a, torch.SymInt):
            return self._size(a, line)
        if isinstance(a, int) and not isinstance(a, bool):
            return max(-_LARGEST, min(_LARGEST, a))  # "to the end" is written as a huge number
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
    if d in _FLOATS:
        return {"dtype": "float"}
    if d in _INTS:
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
