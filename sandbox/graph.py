"""The credit graph: a candidate as a list of allow-listed ATen operations in plain JSON.

It is the only thing that leaves the sandbox, so it is read as hostile data: a strict schema of our
own, sizes that are integers or integer polynomials c0 + c1 * B in the batch size B, bounded counts,
no cycles by construction (an operation refers only to values before it), no names looked up by
reflection. This module knows the form; :mod:`sandbox.runtime` knows what the operations do.

Values are numbered: 0 is ``agent_qs`` [B, n_agents], 1 is ``state`` [B, state_dim], then the
constants in order, then one number per operation. An operation with several results is referred to
with ``out``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from sandbox.config import GateConfig
from sandbox.ops import OPS

FORMAT = "qllm-credit-graph"
VERSION = 1

MAX_OPERATIONS = 2_000
MAX_CONSTANT_VALUES = 65_536
MAX_LIST = 1_024
MAX_INT = 2**53
FIRST_CONSTANT = 2

MAX_REFERENCES = 50_000
"""Members of all lists of arguments together."""

SIZED = {
    f"aten.{n}"
    for n in "reshape.default expand.default repeat.default zeros.default ones.default "
    "full.default new_zeros.default new_ones.default new_full.default".split()
}
"""Operations with a list of sizes, which may grow with the batch."""
_COUNTED = {
    f"aten.{n}" for n in "arange.default arange.start arange.start_step slice.Tensor "
    "slice_scatter.default".split()
}  # fmt: skip

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

    @classmethod
    def from_json(cls, data: object) -> CreditGraph:
        """Read a graph strictly; nothing in ``data`` is trusted.

        Raises:
            GraphError: anything that is not exactly a credit graph of this version, in bounds.
        """
        top = _mapping(data, "graph", _TOP_KEYS)
        if top["format"] != FORMAT or top["version"] != VERSION or type(top["version"]) is not int:
            raise GraphError(f"not a {FORMAT} of version {VERSION}")
        signature = top["signature"]
        if signature not in ("weights", "mixing"):
            raise GraphError("signature must be 'weights' or 'mixing'")
        n_agents = _integer(top["n_agents"], "n_agents", 1, 64)
        state_dim = _integer(top["state_dim"], "state_dim", 1, 100_000)
        schema_hash = top["schema_hash"]
        if not isinstance(schema_hash, str) or len(schema_hash) > 64:
            raise GraphError("schema_hash must be a short text")
        constants = _read_constants(top["constants"])
        operations = _read_operations(top["operations"], FIRST_CONSTANT + len(constants))
        count = FIRST_CONSTANT + len(constants) + len(operations)
        gate = _read_gate(top["gate"])
        wanted = set(OUTPUTS[signature]) | ({"q_tot"} if gate else set())
        outputs_json = _mapping(top["outputs"], "outputs", wanted)
        outputs = {}
        for name in sorted(wanted):
            ref = _read_arg(outputs_json[name], count, f"output {name}")
            if not isinstance(ref, Ref):
                raise GraphError(f"output {name} must be a value")
            outputs[name] = ref
        return canonical(
            cls(signature, n_agents, state_dim, schema_hash, constants, operations, outputs, gate)
        )


_TOP_KEYS = {
    "format", "version", "signature", "n_agents", "state_dim", "schema_hash", "gate",
    "constants", "operations", "outputs",
}  # fmt: skip


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


def ungated(graph: CreditGraph) -> CreditGraph:
    """The candidate's own part of a gated graph, to be gated and judged again.

    Raises:
        GraphError: the gate's function is not where the gate puts it.
    """
    from sandbox.gate import apply_gate  # it works on this module's graphs

    if graph.gate is None:
        return graph
    outputs = {name: graph.outputs[name] for name in OUTPUTS[graph.signature]}
    wrapped = {
        "weights": graph.signature == "weights" and graph.gate.mode == "enforce",
        "q_tot": graph.signature == "mixing" and graph.gate.scale_by_agents,
    }
    for name in (n for n, is_wrapped in wrapped.items() if is_wrapped):
        at = outputs[name].value - graph.first_operation
        args = graph.operations[at].args if at >= 0 else ()
        if not args or not isinstance(args[0], Ref):
            raise GraphError(_NOT_GATED)
        outputs[name] = args[0]
    candidate = canonical(replace(graph, outputs=outputs, gate=None))
    if apply_gate(candidate, graph.gate) != canonical(graph):
        raise GraphError(_NOT_GATED)
    return candidate


_NOT_GATED = "the graph does not end in the gate that it names"


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


# ---- strict reading ------------------------------------------------------------------------------


def _mapping(data: object, what: str, keys: Iterable[str]) -> dict[str, Any]:
    if type(data) is not dict or set(data) != set(keys):
        raise GraphError(f"{what} must be an object with exactly the keys {sorted(keys)}")
    return data


def _integer(x: object, what: str, low: int, high: int) -> int:
    if type(x) is not int or not low <= x <= high:
        raise GraphError(f"{what} must be an integer from {low} to {high}")
    return x


def _list(x: object, what: str, most: int) -> list[Any]:
    if type(x) is not list or len(x) > most:
        raise GraphError(f"{what} must be a list of at most {most}", "graph.size")
    return x


_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _read_constants(data: object) -> tuple[Constant, ...]:
    constants, total = [], 0
    for i, item in enumerate(_list(data, "constants", MAX_OPERATIONS)):
        c = _mapping(item, f"constant {i}", {"dtype", "shape", "data"})
        if c["dtype"] not in ("float", "int64", "bool"):
            raise GraphError(f"constant {i}: unknown dtype")
        shape = tuple(
            _integer(n, f"constant {i} size", 0, MAX_CONSTANT_VALUES)
            for n in _list(c["shape"], f"constant {i} shape", 8)
        )
        values = _list(c["data"], f"constant {i} data", MAX_CONSTANT_VALUES)
        total += len(values)
        if math.prod(shape) != len(values):
            raise GraphError(f"constant {i}: {len(values)} values for shape {list(shape)}")
        if total > MAX_CONSTANT_VALUES:
            raise GraphError(f"constants hold over {MAX_CONSTANT_VALUES} numbers", "graph.size")
        constants.append(
            Constant(c["dtype"], shape, tuple(_read_element(v, c["dtype"], i) for v in values))
        )
    return tuple(constants)


def _read_element(v: object, dtype: str, i: int) -> float | int | bool:
    if dtype == "bool":
        if type(v) is not bool:
            raise GraphError(f"constant {i}: not a bool")
        return v
    if dtype == "int64":
        return _integer(v, f"constant {i} value", -MAX_INT, MAX_INT)
    number = _read_number(v)
    if number is None or type(number) is bool:
        raise GraphError(f"constant {i}: not a number")
    return float(number)


def _read_number(v: object) -> float | int | None:
    if type(v) is int and abs(v) <= MAX_INT:
        return v
    if type(v) is float and math.isfinite(v):
        return v
    if type(v) is dict and set(v) == {"float"} and v["float"] in ("inf", "-inf", "nan"):
        return _SPECIAL[v["float"]]
    return None


def _read_operations(data: object, first: int) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    members = 0
    for i, item in enumerate(_list(data, "operations", MAX_OPERATIONS)):
        if type(item) is not dict or not {"op", "args"} <= set(item) <= _OPERATION_KEYS:
            raise GraphError(f"operation {i} must have op and args, and may have kwargs and line")
        name = item["op"]
        line = item.get("line")
        if line is not None:
            line = _integer(line, f"operation {i} line", 1, 100_000)
        if not isinstance(name, str) or name not in OPS:
            shown = name[:80] if isinstance(name, str) else type(name).__name__
            raise GraphError(f"operation {shown!r} is not on the list", "graph.operation", line)
        spec = OPS[name]
        args = _list(item["args"], f"operation {i} args", 16)
        kwargs = item.get("kwargs", {})
        if type(kwargs) is not dict or len(kwargs) > 8:
            raise GraphError(f"operation {i}: kwargs must be an object")
        for key in kwargs:
            if type(key) is not str or key not in spec.kwargs:
                shown = key[:40] if type(key) is str else type(key).__name__
                raise GraphError(f"operation {i} ({name}): no keyword {shown!r}", line=line)
        members += sum(len(a) for a in (*args, *kwargs.values()) if type(a) is list)
        if members > MAX_REFERENCES:
            raise GraphError(f"lists of over {MAX_REFERENCES} arguments in all", "graph.size")
        where = f"operation {i} ({name})"
        operations.append(
            Operation(
                name,
                tuple(_read_arg(a, first + i, where) for a in args),
                tuple(sorted((k, _read_arg(v, first + i, where)) for k, v in kwargs.items())),
                line,
            )
        )
        _refuse_batch_as_number(operations[-1])
    return tuple(operations)


def _refuse_batch_as_number(o: Operation) -> None:
    """The batch size may say how large a tensor is, and nothing else."""
    for arg in (*o.args, *(value for _, value in o.kwargs)):
        within = type(arg) is tuple and any(isinstance(a, Batch) for a in arg)
        if (within and o.op not in SIZED) or (isinstance(arg, Batch) and o.op not in _COUNTED):
            raise GraphError(
                f"{o.op.split('.')[1]} uses the batch size as a number; every row of the batch is "
                "a different moment, so treat every row alike",
                "graph.batch",
                o.line,
            )


_OPERATION_KEYS = {"op", "args", "kwargs", "line"}


def _read_arg(data: object, before: int, where: str, depth: int = 0) -> Arg:
    if data is None or type(data) is bool:
        return data
    if type(data) is str:
        if data not in ("floor", "trunc", "none", "tanh"):
            raise GraphError(f"{where}: unknown text argument")
        return data
    if type(data) is list:
        if depth or len(data) > MAX_LIST:
            raise GraphError(f"{where}: nested or over-long list", "graph.size")
        return tuple(_read_arg(x, before, where, depth + 1) for x in data)
    number = _read_number(data)
    if number is not None:
        return number
    if type(data) is dict:
        keys = set(data)
        if keys in ({"value"}, {"value", "out"}):
            value = _integer(data["value"], f"{where}: value number", 0, before - 1)
            return Ref(value, _integer(data.get("out", 0), f"{where}: out", 0, 63))
        if keys == {"batch"}:
            pair = _list(data["batch"], where, 2)
            if len(pair) != 2:
                raise GraphError(f"{where}: a size must be [c0, c1]")
            c0 = _integer(pair[0], f"{where}: size", -MAX_INT, MAX_INT)
            c1 = _integer(pair[1], f"{where}: size", -65_536, 65_536)
            return Batch(c0, c1) if c1 else c0
        if keys == {"dtype"} and data["dtype"] in ("float", "int64", "bool"):
            return DTypeArg(data["dtype"])
    raise GraphError(f"{where}: an argument of unknown form")


def _read_gate(data: object) -> GateConfig | None:
    if data is None:
        return None
    try:
        return GateConfig.model_validate(data, strict=True)
    except ValidationError:
        raise GraphError("gate must hold mode, function and scale_by_agents") from None
