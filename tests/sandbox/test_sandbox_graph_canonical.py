"""One function, one hash; a gate that comes off again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from sandbox_random_graphs import random_graph
from sandbox_small_graphs import QS, STATE, judge_here, mixing, proof_of, small_card
from sandbox_written_functions import export, foraging_card

from prompts.cards import TaskCard
from sandbox.config import GateConfig, SandboxConfig
from sandbox.gate import apply_gate, ungated
from sandbox.graph import (
    Constant,
    CreditGraph,
    GraphError,
    Operation,
    Ref,
    canonical,
    map_refs,
)
from sandbox.reading import read_graph

CARD = small_card()
GATES = [
    GateConfig(mode=mode, function=function, scale_by_agents=scaled)  # type: ignore[arg-type]
    for mode in ("enforce", "relax")
    for function in ("abs", "softplus", "relu", "softmax")
    for scaled in (False, True)
]


def shuffled(graph: CreditGraph, seed: int) -> CreditGraph:
    """The same function in another order, with repeated work and dead code."""
    rng = random.Random(seed)
    constants = [*graph.constants, Constant("float", (1,), (float(seed),))]
    order = list(range(len(constants)))
    rng.shuffle(order)
    place = {0: 0, 1: 1}
    place |= {2 + old: 2 + new for new, old in enumerate(order) if old < len(graph.constants)}
    first = 2 + len(constants)
    made: list[Operation] = []

    def move(o: Operation) -> Operation:
        return replace(
            o,
            args=tuple(map_refs(a, lambda r: Ref(place[r.value], r.out)) for a in o.args),
            kwargs=tuple(
                (k, map_refs(v, lambda r: Ref(place[r.value], r.out))) for k, v in o.kwargs
            ),
            line=rng.choice([None, 1, 7]),
        )

    waiting = list(range(len(graph.operations)))
    while waiting:
        ready = [i for i in waiting if all(r.value in place for r in _reads(graph.operations[i]))]
        i = rng.choice(ready)
        waiting.remove(i)
        for _ in range(rng.choice([1, 1, 2])):  # repeated work
            made.append(move(graph.operations[i]))
        place[graph.first_operation + i] = first + len(made) - 1
        if rng.random() < 0.2:  # dead code
            made.append(Operation("aten.neg.default", (Ref(rng.choice([0, 1])),)))
    outputs = {k: Ref(place[r.value], r.out) for k, r in graph.outputs.items()}
    kept = tuple(constants[i] for i in order)
    return replace(graph, constants=kept, operations=tuple(made), outputs=outputs)


def _reads(o: Operation) -> list[Ref]:
    from sandbox.graph import refs_of

    return refs_of(o)


@pytest.mark.parametrize("seed", range(30))
def test_order_numbers_repeated_work_and_dead_code_do_not_count(seed: int) -> None:
    graph = random_graph(CARD, seed)
    other = shuffled(graph, seed)
    assert other.graph_hash == graph.graph_hash
    assert read_graph(other.to_json()).graph_hash == graph.graph_hash
    assert canonical(canonical(other)) == canonical(other)


def test_names_layout_and_comments_do_not_count() -> None:
    card = foraging_card()
    plain = (
        "def tfcaf(agent_qs, state):\n    w = state[:, 15:18]\n"
        "    return (agent_qs * w).sum(1, True)\n"
    )
    other = (
        "# weights\ndef mix(qs, s):\n    unused = qs.mean()\n    health = s[:, 15:18]\n"
        "    total = (qs * health).sum(dim=1, keepdim=True)\n    return total\n"
    )
    assert export(plain, card).graph_hash == export(other, card).graph_hash


def test_different_functions_differ() -> None:
    total = ("sum.dim_IntList", QS, (1,), True)
    one, other = Constant("float", (1,), (1.0,)), Constant("float", (1,), (-0.0,))
    zero, whole = Constant("float", (1,), (0.0,)), Constant("int64", (1,), (0,))
    graphs = [
        mixing(CARD, total),
        mixing(CARD, ("sum.dim_IntList", STATE, (1,), True)),
        mixing(CARD, ("sum.dim_IntList", QS, (-1,), True)),
        mixing(CARD, total, ("add.Tensor", Ref(2), 1)),
        mixing(CARD, total, ("add.Tensor", Ref(2), 1.0)),
        mixing(CARD, total, ("add.Tensor", Ref(2), True)),
        mixing(CARD, total, ("add.Tensor", Ref(2), Ref(2))),
        mixing(CARD, total, ("add.Tensor", Ref(2), Ref(2), {"alpha": 2})),
        mixing(CARD, total, ("sub.Tensor", Ref(2), 1.0)),
        *(
            mixing(CARD, ("sum.dim_IntList", QS, (1,), True), ("add.Tensor", Ref(3), Ref(2)),
                   constants=(c,))
            for c in (one, other, zero, whole)
        ),
    ]  # fmt: skip
    hashes = [g.graph_hash for g in graphs]
    assert len(set(hashes)) == len(hashes)


def test_gate_and_signature_count() -> None:
    graph = random_graph_of("weights")
    hashes = {apply_gate(graph, g).graph_hash for g in GATES}
    assert len(hashes) == len(GATES)
    assert graph.graph_hash not in hashes


def random_graph_of(signature: str, card: TaskCard = CARD, start: int = 0) -> CreditGraph:
    """The next random graph of a signature."""
    return canonical(
        next(g for s in range(start, start + 200)
             if (g := random_graph(card, s)).signature == signature)
    )  # fmt: skip


@pytest.mark.parametrize("gate", GATES, ids=str)
def test_a_gate_comes_off_again(gate: GateConfig) -> None:
    for seed in range(0, 40, 8):
        for signature in ("weights", "mixing"):
            graph = random_graph_of(signature, start=seed)
            gated = apply_gate(graph, gate)
            assert ungated(gated) == graph
            assert ungated(read_graph(gated.to_json())).graph_hash == graph.graph_hash


def weights_graph(*operations: Operation, weights: Ref, bias: Ref) -> CreditGraph:
    """A hand-made weights form."""
    return canonical(
        CreditGraph("weights", 2, 3, CARD.schema_hash(), (), operations,
                    {"weights": weights, "bias": bias})
    )  # fmt: skip


def lookalikes() -> list[CreditGraph]:
    """Graphs whose own end looks like a gate's."""
    two = Operation("aten.slice.Tensor", (STATE, 1, 0, 2))
    one = Operation("aten.slice.Tensor", (STATE, 1, 0, 1))
    graphs = [
        weights_graph(two, one, Operation(f"aten.{op}", args), weights=Ref(4), bias=Ref(3))
        for op, args in (
            ("abs.default", (Ref(2),)),
            ("relu.default", (Ref(2),)),
            ("softplus.default", (Ref(2),)),
            ("_softmax.default", (Ref(2), 1, False)),
            ("mul.Tensor", (Ref(2), 2.0)),
        )
    ]
    gated_by_hand = (
        two, one, Operation("aten.abs.default", (Ref(2),)),
        Operation("aten.mul.Tensor", (Ref(4), QS)),
        Operation("aten.sum.dim_IntList", (Ref(5), (1,), True)),
        Operation("aten.add.Tensor", (Ref(6), Ref(3))),
        Operation("aten.mul.Tensor", (Ref(7), 2.0)),
    )  # fmt: skip
    graphs.append(weights_graph(*gated_by_hand, weights=Ref(4), bias=Ref(8)))
    graphs.append(weights_graph(weights=QS, bias=QS))
    parts = Operation("aten.max.dim", (STATE, 1, True))
    graphs.append(weights_graph(parts, weights=Ref(2, 0), bias=Ref(2, 0)))
    mixed = replace(
        canonical(mixing(CARD, ("sum.dim_IntList", QS, (1,), True), ("mul.Tensor", Ref(2), 2.0)))
    )
    return [*graphs, mixed, mixing(CARD, q_tot=QS)]


@pytest.mark.parametrize("gate", GATES, ids=str)
def test_a_gate_comes_off_what_looks_like_one(gate: GateConfig) -> None:
    for graph in lookalikes():
        assert ungated(apply_gate(graph, gate)) == canonical(graph)


def test_a_graph_that_only_claims_its_gate_is_refused() -> None:
    graph = random_graph_of("weights")
    abs_gated = apply_gate(graph, GateConfig())
    for gate in GATES:
        # Relaxed and unscaled, the gate's absolute value would be the candidate's own.
        if gate != abs_gated.gate and (gate.mode == "enforce" or gate.scale_by_agents):
            with pytest.raises(GraphError, match="gate"):
                ungated(replace(abs_gated, gate=gate))
    relaxed = apply_gate(graph, GateConfig(mode="relax"))
    with pytest.raises(GraphError, match="gate"):
        ungated(replace(relaxed, outputs={**relaxed.outputs, "q_tot": Ref(0)}))


def test_a_scale_that_is_not_the_number_of_agents_is_refused() -> None:
    gate = GateConfig(scale_by_agents=True)
    gated = apply_gate(mixing(CARD, ("sum.dim_IntList", QS, (1,), True)), gate)
    last = gated.operations[-1]
    forged = replace(last, args=(last.args[0], 5.0))
    with pytest.raises(GraphError, match="gate"):
        ungated(replace(gated, operations=(*gated.operations[:-1], forged)))


def test_a_graph_is_gated_once() -> None:
    gated = apply_gate(random_graph_of("mixing"), GateConfig())
    with pytest.raises(ValueError, match="already"):
        apply_gate(gated, GateConfig())


@pytest.mark.parametrize(
    ("by_name", "by_place"),
    [
        (("remainder.Scalar", QS, {"other": 3.0}), ("remainder.Scalar", QS, 3.0)),
        (
            ("div.Tensor_mode", QS, {"other": STATE, "rounding_mode": "floor"}),
            ("div.Tensor_mode", QS, STATE, {"rounding_mode": "floor"}),
        ),
        (("clamp.default", QS, {"max": 3.0}), ("clamp.default", QS, None, 3.0)),
        (("topk.default", QS, {"k": 2, "largest": False}), ("topk.default", QS, 2, -1, False)),
    ],
)
def test_an_argument_may_be_given_by_name(
    by_name: tuple[Any, ...], by_place: tuple[Any, ...]
) -> None:
    """And is at its place for all that reads the graph: runtime, prover, bounds of indices."""
    total = ("sum.dim_IntList", Ref(2), {"keepdim": True, "dim": (1,)})
    card = small_card(columns=2)
    named, placed = (
        read_graph(mixing(card, step, total).to_json()) for step in (by_name, by_place)
    )
    assert named == placed
    findings = judge_here(named, card, GateConfig(), SandboxConfig(examples=4))
    assert findings.proof == proof_of(placed, card)


def test_an_argument_left_out_before_one_by_name_is_refused() -> None:
    graph = mixing(CARD, ("gather.default", QS, {"index": QS}))
    with pytest.raises(GraphError, match="dim"):
        read_graph(graph.to_json())
