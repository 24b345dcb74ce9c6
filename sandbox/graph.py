"""The credit graph: a candidate as a list of allow-listed ATen operations in plain JSON.

It is the only thing that leaves the sandbox. This module knows its form, :mod:`sandbox.reading`
reads it as hostile data, :mod:`sandbox.table` knows what each operation accepts, and
:mod:`sandbox.runtime` what it does. Sizes are integers or integer polynomials c0 + c1 * B in the
batch size B; there are no cycles, since an operation refers only to values before it.

Values are numbered: 0 is ``agent_qs`` [B, n_agents], 1 is ``state`` [B, state_dim], then the
constants in order, then one number per operation. An operation with several results is referred to
with ``out``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from sandbox.config import GateConfig

FORMAT = "qllm-credit-graph"
VERSION = 1

AGENT_QS, STATE, FIRST_CONSTANT = 0, 1, 2

Signature = Literal["weights", "mixing"]
DType = Literal["float", "int64", "bool"]
OUTPUTS: dict[str, tuple[str, ...]] = {"weights": ("weights", "bias"), "mixing": ("q_tot",)}


class GraphError(ValueError):
    """A credit graph that is malformed, unknown, or beyond a bound."""

    def __init__(
        self, message: str, rule: str = "graph.malformed", line: int | None = None
    ) -> None:
        super().__init__(message)
        self.rule, self.line = rule, line


class Ref(NamedTuple):
    """A value: an input, a constant, or result ``out`` of an operation."""

    value: int
    out: int = 0


class Batch(NamedTuple):
    """The integer c0 + c1 * B."""

    c0: int
    c1: int

    def at(self, batch: int) -> int:
        """Its value for a batch size."""
        return self.c0 + self.c1 * batch


@dataclass(frozen=True)
class DTypeArg:
    """A dtype argument; ``float`` means the dtype of the inputs."""

    name: DType


Arg = Any  # None | bool | int | float | Ref | Batch | DTypeArg | str | tuple[Arg, ...]


@dataclass(frozen=True)
class Constant:
    """A literal tensor, row-major."""

    dtype: DType
    shape: tuple[int, ...]
    data: tuple[float | int | bool, ...]


@dataclass(frozen=True)
class Operation:
    """One ATen call."""

    op: str
    args: tuple[Arg, ...]
    kwargs: tuple[tuple[str, Arg], ...] = ()
    line: int | None = None
    """Line of the candidate's code (a hint from the child, not trusted, not hashed)."""


@dataclass(frozen=True)
class CreditGraph:
    """An immutable credit graph.

    Before gating, ``outputs`` names ``weights`` [B, n_agents] and ``bias`` [B, 1], or ``q_tot``
    [B, 1]. After gating (``gate`` set) it always names ``q_tot``, and in weights form still the
    gated ``weights`` and the ``bias``.
    """

    signature: Signature
    n_agents: int
    state_dim: int
    schema_hash: str
    constants: tuple[Constant, ...]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, Ref]
    gate: GateConfig | None = None

    @property
    def first_operation(self) -> int:
        """Number of the first operation's value."""
        return FIRST_CONSTANT + len(self.constants)

    def reads(self, value: int, *outputs: str) -> bool:
        """Whether any of the named outputs is computed from a value, whatever comes of it."""
        stack, seen = [self.outputs[name].value for name in outputs], set[int]()
        while stack:
            number = stack.pop()
            if number == value:
                return True
            if number not in seen and number >= self.first_operation:
                seen.add(number)
                operation = self.operations[number - self.first_operation]
                stack.extend(ref.value for ref in refs_of(operation))
        return False

    def to_json(self) -> dict[str, Any]:
        """The graph as plain JSON data (documented in ``docs/credit-graph.md``)."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "signature": self.signature,
            "n_agents": self.n_agents,
            "state_dim": self.state_dim,
            "schema_hash": self.schema_hash,
            "gate": self.gate.model_dump() if self.gate else None,
            "constants": [
                {
                    "dtype": c.dtype,
                    "shape": list(c.shape),
                    "data": [_number_json(x) for x in c.data],
                }
                for c in self.constants
            ],
            "operations": [_operation_json(o) for o in self.operations],
            "outputs": {name: _arg_json(ref) for name, ref in self.outputs.items()},
        }

    @property
    def graph_hash(self) -> str:
        """SHA-256 over the canonical graph, without line numbers and the task's schema hash.

        Equal for candidates that differ in names, layout, dead code or repeated sub-expressions.
        """
        data = canonical(self).to_json()
        del data["schema_hash"]
        for o in data["operations"]:
            o.pop("line", None)
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def map_refs(arg: Arg, change: Callable[[Ref], Arg]) -> Arg:
    """``arg`` with every value reference in it replaced."""
    if isinstance(arg, Ref):
        return change(arg)
    if type(arg) is tuple:
        return tuple(map_refs(a, change) for a in arg)
    return arg


def refs_of(operation: Operation) -> list[Ref]:
    """The values an operation reads, in order."""
    found: list[Ref] = []

    def see(ref: Ref) -> Ref:
        found.append(ref)
        return ref

    for arg in (*operation.args, *(value for _, value in operation.kwargs)):
        map_refs(arg, see)
    return found


def canonical(graph: CreditGraph) -> CreditGraph:
    """The same function without dead code and repeated work, numbered in order of need.

    The order follows a walk from the outputs, so it does not depend on how the source was laid
    out. Operations are functional and deterministic, hence equal calls are one call.
    """
    first = graph.first_operation
    place: dict[int, int] = {0: 0, 1: 1}
    constants: list[Constant] = []
    known_constants: dict[Any, int] = {}
    new_ops: list[Operation] = []
    known_ops: dict[Any, int] = {}

    order: list[int] = []
    seen: set[int] = set()
    for name in sorted(graph.outputs):
        stack: list[tuple[int, bool]] = [(graph.outputs[name].value, False)]
        while stack:
            value, ready = stack.pop()
            if ready:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                if value >= first:
                    needed = refs_of(graph.operations[value - first])
                    stack.extend((r.value, False) for r in reversed(needed))
    for value in order:
        if FIRST_CONSTANT <= value < first:
            c = graph.constants[value - FIRST_CONSTANT]
            key: Any = (c.dtype, c.shape, tuple(map(repr, c.data)))
            if key not in known_constants:
                known_constants[key] = FIRST_CONSTANT + len(constants)
                constants.append(c)
            place[value] = known_constants[key]
    new_first = FIRST_CONSTANT + len(constants)
    for value in order:
        if value >= first:
            o = graph.operations[value - first]

            def moved(ref: Ref) -> Ref:
                return Ref(place[ref.value], ref.out)

            o = replace(
                o,
                args=tuple(map_refs(a, moved) for a in o.args),
                kwargs=tuple((k, map_refs(v, moved)) for k, v in sorted(o.kwargs)),
            )
            key = (o.op, repr(o.args), repr(o.kwargs))
            if key not in known_ops:
                known_ops[key] = new_first + len(new_ops)
                new_ops.append(o)
            place[value] = known_ops[key]
    outputs = {k: Ref(place[r.value], r.out) for k, r in graph.outputs.items()}
    return replace(graph, constants=tuple(constants), operations=tuple(new_ops), outputs=outputs)


# ---- writing -------------------------------------------------------------------------------------


def _number_json(x: float) -> Any:
    if isinstance(x, float) and not math.isfinite(x):
        return {"float": "nan" if x != x else "inf" if x > 0 else "-inf"}
    return x


def _arg_json(arg: Arg) -> Any:
    if isinstance(arg, Ref):
        return {"value": arg.value, "out": arg.out} if arg.out else {"value": arg.value}
    if isinstance(arg, Batch):
        return {"batch": [arg.c0, arg.c1]}
    if isinstance(arg, DTypeArg):
        return {"dtype": arg.name}
    if isinstance(arg, tuple):
        return [_arg_json(a) for a in arg]
    return _number_json(arg)


def _operation_json(o: Operation) -> dict[str, Any]:
    out: dict[str, Any] = {"op": o.op, "args": [_arg_json(a) for a in o.args]}
    if o.kwargs:
        out["kwargs"] = {k: _arg_json(v) for k, v in o.kwargs}
    if o.line is not None:
        out["line"] = o.line
    return out
