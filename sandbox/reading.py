"""Read a credit graph as hostile data: a strict schema of our own, and the closed table.

Nothing in the data is trusted or looked up by reflection. What comes out is canonical, its types
are known, its rows are independent and its memory and work are bounded; no tensor has been made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sandbox.config import GateConfig
from sandbox.graph import (
    FIRST_CONSTANT,
    FORMAT,
    OUTPUTS,
    VERSION,
    Arg,
    Batch,
    Constant,
    CreditGraph,
    DTypeArg,
    GraphError,
    Operation,
    Ref,
    canonical,
)
from sandbox.inference import infer_types
from sandbox.table import OPS

MAX_OPERATIONS = 2_000
"""Of a candidate; its gate adds a few."""
GATE_OPERATIONS = 8
MAX_CONSTANT_VALUES = 65_536
MAX_LIST = 1_024
MAX_INT = 2**53
MAX_REFERENCES = 50_000
"""Members of all lists of arguments together."""

_TOP_KEYS = {
    "format", "version", "signature", "n_agents", "state_dim", "schema_hash", "gate",
    "constants", "operations", "outputs",
}  # fmt: skip


def read_graph(data: object) -> CreditGraph:
    """A graph from plain JSON data.

    Raises:
        GraphError: anything that is not exactly a credit graph of this version, in bounds, of
            operations that take their arguments and keep rows apart.
    """
    try:
        graph = canonical(_read_form(data))
        infer_types(graph)
    except (OverflowError, RecursionError, MemoryError) as error:
        raise GraphError(f"it cannot be read: {type(error).__name__}", "graph.size") from None
    return graph


def _read_form(data: object) -> CreditGraph:
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
    most = MAX_OPERATIONS + (GATE_OPERATIONS if top["gate"] is not None else 0)
    operations = _read_operations(top["operations"], FIRST_CONSTANT + len(constants), most)
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
    return CreditGraph(
        signature, n_agents, state_dim, schema_hash, constants, operations, outputs, gate
    )


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


def _read_operations(data: object, first: int, most: int) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    members = 0
    for i, item in enumerate(_list(data, "operations", most)):
        if type(item) is not dict or not {"op", "args"} <= set(item) <= _OPERATION_KEYS:
            raise GraphError(f"operation {i} must have op and args, and may have kwargs and line")
        name = item["op"]
        line = item.get("line")
        if line is not None:
            line = _integer(line, f"operation {i} line", 1, 100_000)
        if not isinstance(name, str) or name not in OPS:
            shown = name[:80] if isinstance(name, str) else type(name).__name__
            raise GraphError(f"operation {shown!r} is not on the list", "graph.operation", line)
        args = _list(item["args"], f"operation {i} args", 16)
        kwargs = item.get("kwargs", {})
        if type(kwargs) is not dict or len(kwargs) > 8:
            raise GraphError(f"operation {i}: kwargs must be an object")
        if any(type(key) is not str or len(key) > 20 for key in kwargs):
            raise GraphError(f"operation {i} ({name}): an unknown keyword", line=line)
        members += sum(len(a) for a in (*args, *kwargs.values()) if type(a) is list)
        if members > MAX_REFERENCES:
            raise GraphError(f"lists of over {MAX_REFERENCES} arguments in all", "graph.size")
        where = f"operation {i} ({name})"
        placed = [_read_arg(a, first + i, where) for a in args]
        named = {k: _read_arg(v, first + i, where) for k, v in kwargs.items()}
        operations.append(_positioned(name, placed, named, line, where))
    return tuple(operations)


def _positioned(
    name: str, args: list[Arg], kwargs: dict[str, Arg], line: int | None, where: str
) -> Operation:
    """An operation with every argument at its position, if it has one, as what follows expects."""
    try:
        placed, named = OPS[name].positioned(args, kwargs)
    except ValueError as error:
        raise GraphError(f"{where}: {error}", "graph.arguments", line) from None
    return Operation(name, tuple(placed), tuple(sorted(named.items())), line)


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
