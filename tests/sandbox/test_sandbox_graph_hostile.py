"""The strict reader under attack: it accepts a graph or raises GraphError, and soon."""

from __future__ import annotations

import copy
import functools
import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_random_graphs import random_graph
from sandbox_small_graphs import judge_here, small_card
from sandbox_written_functions import foraging_card, graph_of

from sandbox.config import GateConfig, SandboxConfig
from sandbox.gate import apply_gate
from sandbox.graph import GraphError
from sandbox.inference import infer_types
from sandbox.prover.prove import prove
from sandbox.reading import read_graph
from sandbox.table import OPS

CARD = small_card()
BATCH = {"batch": [0, 1]}
FEW = SandboxConfig(examples=2)


def valid() -> dict[str, Any]:
    """A small graph: q_tot = sum of the Qs times a constant."""
    return {
        "format": "qllm-credit-graph", "version": 1, "signature": "mixing", "n_agents": 2,
        "state_dim": 3, "schema_hash": CARD.schema_hash(), "gate": None,
        "constants": [{"dtype": "float", "shape": [1, 2], "data": [0.5, 1.0]}],
        "operations": [
            {"op": "aten.mul.Tensor", "args": [{"value": 0}, {"value": 2}]},
            {"op": "aten.sum.dim_IntList", "args": [{"value": 3}, [1], True], "line": 3},
        ],
        "outputs": {"q_tot": {"value": 4}},
    }  # fmt: skip


def with_(path: str, value: Any) -> dict[str, Any]:
    """The valid graph with one member replaced (or, at a new key, added)."""
    data = valid()
    *way, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    at: Any = data
    for step in way:
        at = at[step]
    at[last] = value
    return data


def judged(data: object) -> None:
    """Read and judge; only GraphError may come out of it."""
    started = time.perf_counter()
    try:
        judge_here(read_graph(data), CARD, GateConfig(), FEW)
    except GraphError as error:
        said = (error.rule.split(".")[0], 0 < len(str(error)) < 1000)
        assert said == ("graph", True), str(error)  # noqa: PT017 - any other exception fails
    assert time.perf_counter() - started < 90.0


def refused(data: object) -> GraphError:
    """The error with which a graph is refused, at the latest by its shapes."""
    with pytest.raises(GraphError) as caught:
        infer_types(apply_gate(read_graph(data), GateConfig()))
    return caught.value


def test_the_valid_graph_is_valid() -> None:
    graph = read_graph(valid())
    assert read_graph(graph.to_json()) == graph
    judge_here(graph, CARD, GateConfig(), FEW)


DEEP: Any = functools.reduce(lambda inner, _: [inner], range(900), 0)
BAD: dict[str, Any] = {
    "format": ["other", None, {}, []],
    "version": [2, True, 1.0, "1", None],
    "signature": ["both", None, [], {}, 1],
    "n_agents": [0, -1, 65, True, 2.0, "2", None, 10**30, [2]],
    "state_dim": [0, True, 3.0, 100_001, math.inf],
    "schema_hash": [None, 5, "x" * 65],
    "gate": [1, "abs", {"mode": "open"}, {"mode": "relax", "more": 1}, [], DEEP],
    "constants": [None, {}, [None], [{}], "abc", DEEP],
    "constants/0/dtype": ["float64", None, [], True],
    "constants/0/shape": [[3, 3], [-1, -2], [2.0], [True, 2], None, [1] * 9, [2**31, 2**31], 2],
    "constants/0/data": [[1], [1, "2"], [1, None], [1, True], [1, math.nan], [1, math.inf], None,
                         [1, 10**400], [1, {"float": "NaN"}], [1, {"float": []}], [1, [2]], DEEP],
    "operations": [None, {}, [None], "aten.mul.Tensor", DEEP],
    "operations/0/op": ["aten.mul_.Tensor", "os.system", "aten.randn.default", "__import__", None,
                        5, [], "aten.mul.Tensor ", "aten." + "x" * 10_000],
    "operations/0/args": [None, {}, [], "ab", [{"value": 0}], [{"value": 0}] * 17, [[[1]]],
                          [{"value": 0}, {"value": 3}], [{"value": 0}, {"value": 4}],
                          [{"value": 0}, {"value": -1}], [{"value": 0}, {"value": True}],
                          [{"value": 0}, {"value": 10**30}], [{"value": 0}, {"value": 0.0}],
                          [{"value": 0}, {"value": 2, "out": 1}],
                          [{"value": 0}, {"value": 2, "out": 64}],
                          [{"value": 0}, {"value": 2, "out": -1}], [{"value": 0}, {"other": 2}],
                          [{"value": 0}, {"batch": 5}], [{"value": 0}, {"batch": None}],
                          [{"value": 0}, {"batch": [0]}], [{"value": 0}, {"batch": [0, 1, 2]}],
                          [{"value": 0}, {"batch": [0.5, 1]}], [{"value": 0}, {"batch": [0, 1]}],
                          [{"value": 0}, {"batch": "ab"}],
                          [{"value": 0}, {"batch": {"0": 1, "1": 2}}],
                          [{"value": 0}, {"dtype": "float"}], [{"value": 0}, {"dtype": []}],
                          [{"value": 0}, "text"], [{"value": 0}, "floor"], [{"value": 0}, math.nan],
                          [{"value": 0}, 10**400], DEEP],
    "operations/0/kwargs": [None, [], {"out": {"value": 0}}, {"alpha": 1}, {"device": "cuda"}, 5],
    "operations/0/line": [0, -1, "3", True, 2.5, 10**9],
    "operations/0/more": [1],
    "outputs": [None, {}, {"weights": {"value": 0}}, {"q_tot": 4}, {"q_tot": {"value": 5}},
                {"q_tot": {"value": 4, "out": 1}}, {"q_tot": {"value": 4}, "bias": {"value": 4}},
                {"q_tot": {"value": 0}}, {"q_tot": {"value": 1}}, {"q_tot": {"value": 2}}],
    "more": [1],
}  # fmt: skip


@pytest.mark.parametrize("path", BAD)
def test_what_is_not_exactly_a_graph_is_refused(path: str) -> None:
    for value in BAD[path]:
        data = with_(path, value)
        if path == "outputs" and value in ({"q_tot": {"value": i}} for i in (0, 1, 2)):
            judged(data)
            with pytest.raises(GraphError):
                judge_here(read_graph(data), CARD, GateConfig(), FEW)
        else:
            refused(data)


def test_a_missing_key_is_named() -> None:
    for key in valid():
        data = valid()
        del data[key]
        assert "keys" in str(refused(data))


@pytest.mark.parametrize("data", [None, [], "graph", 1, {1: 2}, {"format": valid()}])
def test_what_is_no_object_is_refused(data: object) -> None:
    refused(data)


def test_keys_that_are_no_text_are_refused() -> None:
    refused(with_("operations/0/kwargs", {10**5000: 1}))
    refused(with_("operations/0/kwargs", {("dtype",): 1}))


def test_an_operation_cannot_refer_to_itself_or_to_a_later_one() -> None:
    data = valid()
    data["operations"][0]["args"][1] = {"value": 4}
    refused(data)


# ---- too much of everything ----------------------------------------------------------------------


def operations(count: int, of: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """A graph of many operations, the last of them its result."""
    data = valid()
    data["operations"] = [of(3 + i) for i in range(count)]
    data["outputs"] = {"q_tot": {"value": 2 + count}}
    return data


INT64 = {"dtype": {"dtype": "int64"}}

BOMBS: dict[str, Callable[[], dict[str, Any]]] = {
    "too many operations": lambda: operations(
        2001, lambda v: {"op": "aten.neg.default", "args": [{"value": v - 1}]}
    ),
    "many references": lambda: operations(
        2000, lambda v: {"op": "aten.cat.default", "args": [[{"value": v - 1}] * 1000, 1]}
    ),
    "doubling by concatenation": lambda: operations(
        200, lambda v: {"op": "aten.cat.default", "args": [[{"value": v - 1}] * 2, 1]}
    ),
    "doubling by addition": lambda: operations(
        60, lambda v: {"op": "aten.add.Tensor", "args": [{"value": v - 1}, {"value": v - 1}]}
    ),
    "a long chain": lambda: operations(
        2000, lambda v: {"op": "aten.sin.default", "args": [{"value": v - 1 if v > 3 else 0}]}
    ),
    "a huge tensor": lambda: operations(
        1, lambda v: {"op": "aten.zeros.default", "args": [[2**52, 2**10]]}
    ),
    "more elements than numbers": lambda: operations(
        1, lambda v: {"op": "aten.expand.default", "args": [{"value": 2}, [2**53, 2**53, 1, 2]]}
    ),
    "a huge padding": lambda: operations(
        1, lambda v: {"op": "aten.constant_pad_nd.default", "args": [{"value": 0}, [2**50, 0], 0.0]}
    ),
    "a huge range": lambda: operations(
        1, lambda v: {"op": "aten.arange.default", "args": [2**50]}
    ),
    "an outer square": lambda: operations(
        1, lambda v: {"op": "aten.eye.default", "args": [2**25]}
    ),
    "a tensor in a million parts": lambda: operations(
        2,
        lambda v: {"op": "aten.zeros.default", "args": [[1_000_000]]} if v == 3
        else {"op": "aten.unbind.int", "args": [{"value": 3}]},
    ),
    "a tensor in split parts": lambda: operations(
        2,
        lambda v: {"op": "aten.zeros.default", "args": [[1_000_000]]} if v == 3
        else {"op": "aten.split.Tensor", "args": [{"value": 3}, 1]},
    ),
    "a softmax over all that is allowed": lambda: operations(
        2,
        lambda v: {"op": "aten.zeros.default", "args": [[1, 60_000]]} if v == 3
        else {"op": "aten._softmax.default", "args": [{"value": 3}, 1, False]},
    ),
    "rows compared with rows": lambda: operations(
        2,
        lambda v: {"op": "aten.t.default", "args": [{"value": 0}]} if v == 3
        else {"op": "aten.mm.default", "args": [{"value": 0}, {"value": 3}]},
    ),
    "a costly product, again and again": lambda: operations(
        1000,
        lambda v: {"op": "aten.zeros.default", "args": [[256, 256]]} if v == 3
        else {"op": "aten.mm.default", "args": [{"value": v - 1}, {"value": v - 1}]},
    ),
    "constants beyond the bound": lambda: {
        **valid(),
        "constants": [{"dtype": "float", "shape": [65_536], "data": [0.0] * 65_536}] * 2,
    },
    "negative sizes": lambda: operations(
        1, lambda v: {"op": "aten.zeros.default", "args": [[-5, {"batch": [0, -1]}]]}
    ),
    "doubling dimensions": lambda: operations(
        20,
        lambda v: {"op": "aten.zeros.default", "args": [[1] * 8], "kwargs": INT64} if v == 3
        else {"op": "aten.index.Tensor", "args": [{"value": v - 1}, [{"value": v - 1}]]},
    ),
    "sizes beyond all digits": lambda: operations(
        1, lambda v: {"op": "aten.full.default", "args": [[2**53] * 1024, 1.0]}
    ),
    "a wide value in every operation": lambda: operations(
        60,
        lambda v: {"op": "aten.expand.default", "args": [{"value": 0}, [3000, BATCH, 2]]}
        if v == 3
        else {"op": "aten.tanh.default", "args": [{"value": v - 1}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_judged_within_seconds(name: str) -> None:
    data = BOMBS[name]()
    started = time.process_time()
    judged(data)
    assert time.process_time() - started < 8.0


def test_megabytes_of_json_are_read_within_seconds() -> None:
    data = valid()
    data["constants"] = [
        {"dtype": "float", "shape": [100], "data": [0.1234567890123] * 100} for _ in range(600)
    ]
    started = time.process_time()
    judged(data)
    data["operations"] = [{"op": "aten.neg.default", "args": [{"value": i}]} for i in range(2000)]
    data["outputs"] = {"q_tot": {"value": 2500}}
    judged(data)
    assert time.process_time() - started < 8.0


# ---- mutations -----------------------------------------------------------------------------------


@functools.cache
def seeds() -> list[dict[str, Any]]:
    """Valid graphs of the small card."""
    return [valid(), *(random_graph(CARD, s).to_json() for s in range(12))]


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53, -(2**53), 10**400, 0.5, -0.0, 1e-320, 1e308,
    math.nan, math.inf, "", "floor", "none", [], [0], [1, 1], [[0]], {}, {"value": 0}, {"value": 1},
    {"value": 2}, {"value": 3}, {"value": 5, "out": 1}, {"batch": [0, 1]}, {"batch": [1, 1]},
    {"batch": [0, 2]}, {"dtype": "float"}, {"dtype": "int64"}, {"dtype": "bool"}, {"float": "nan"},
    {"float": "inf"}, [{"value": 0}, {"value": 0}], [None, {"value": 3}], [{"batch": [0, 1]}, 2],
]  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    if isinstance(data, dict):
        for key in data:
            found += places(data[key], (*path, key))
    elif isinstance(data, list):
        for i in range(min(len(data), 12)):
            found += places(data[i], (*path, i))
    return found


def mutated(seed: int) -> dict[str, Any]:
    """A valid graph with a few things wrong, mostly within its operations."""
    rng = random.Random(seed)
    data = copy.deepcopy(rng.choice(seeds()))
    for _ in range(rng.choice([1, 1, 2, 4])):
        everywhere = places(data)
        inner = [p for p in everywhere if p[0] == "operations" and len(p) > 2]
        path = rng.choice(inner if inner and rng.random() < 0.8 else everywhere)
        at: Any = data
        for step in path[:-1]:
            at = at[step]
        if path[-1] == "op":
            at["op"] = rng.choice(sorted(OPS))
        elif rng.random() < 0.15:
            del at[path[-1]]
        elif rng.random() < 0.1 and isinstance(at, list):
            at.append(copy.deepcopy(rng.choice(ODD)))
        else:
            at[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return data


@settings(
    max_examples=250, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(st.integers(0, 2**32))
def test_a_mutated_graph_is_refused_or_judged(seed: int) -> None:
    torch.set_num_threads(1)
    judged(mutated(seed))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_mutated_graphs_are_refused_or_judged() -> None:
    torch.set_num_threads(1)
    for seed in range(10_000_000, 10_005_000):
        judged(mutated(seed))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(json_values, st.sampled_from(sorted(valid())))
def test_any_json_is_read_or_refused(value: Any, key: str) -> None:
    for data in (value, {**valid(), key: value}):
        try:
            read_graph(data)
        except GraphError:
            continue


def test_a_hostile_graph_proves_nothing_false() -> None:
    """What a mutation leaves accepted is proved soundly, too (the prover's tests go deeper)."""
    from sandbox_brute_force import refute

    card = foraging_card()
    data = graph_of("counts").to_json()
    rng = random.Random(5)
    kept = 0
    for _ in range(60):
        changed = copy.deepcopy(data)
        operation = rng.choice(changed["operations"])
        operation["args"][rng.randrange(len(operation["args"]))] = rng.choice(ODD)
        try:
            graph = apply_gate(read_graph(changed), GateConfig())
            shapes = infer_types(graph)
            prove(graph, shapes, card)
            refute(graph, card, 3, shapes)
        except GraphError:
            continue
        kept += 1
    assert kept
