"""The property suite: what breaks a property is caught, shrunk and shown in the card's names."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from sandbox_random_graphs import random_graph
from sandbox_small_graphs import QS, STATE, mixing, small_card
from sandbox_written_functions import MIXING, WEIGHTS, export, foraging_card, graph_of
from torch import Tensor

import sandbox.properties
from prompts.cards import TaskCard, load_card
from sandbox.claims import Proof, PropertyResult
from sandbox.config import GateConfig, SandboxConfig
from sandbox.draws import MODES, Row, batches
from sandbox.gate import apply_gate
from sandbox.graph import Batch, CreditGraph, GraphError, Ref
from sandbox.inference import infer_types
from sandbox.properties import HARD, run_properties
from sandbox.prover.prove import prove
from sandbox.runtime import CreditFunction

CARD = foraging_card()
TOTAL = ("sum.dim_IntList", QS, (1,), True)  # value 2
HEALTH = ("slice.Tensor", STATE, 1, 15, 18)


@pytest.fixture(autouse=True)
def _quiet_and_single() -> Iterator[None]:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def results(
    graph: CreditGraph, gate: GateConfig | None = None, card: TaskCard = CARD, **config: Any
) -> dict[str, PropertyResult]:
    """What the suite says of an ungated graph."""
    gated = apply_gate(graph, gate or GateConfig())
    proof = prove(gated, infer_types(gated), card)
    found = suite_of(gated, card, proof, SandboxConfig(**config))
    return {r.name: r for r in found}


def failures(found: dict[str, PropertyResult]) -> dict[str, str]:
    """What failed, with what is said about it."""
    return {n: r.counterexample or r.detail for n, r in found.items() if r.status == "fail"}


def suite_of(
    graph: CreditGraph,
    card: TaskCard,
    proof: Proof,
    config: SandboxConfig,
    states: Sequence[Sequence[float]] = (),
) -> tuple[PropertyResult, ...]:
    """The suite's results on a gated graph."""
    return run_properties(graph, infer_types(graph), card, proof, config, states)


BREAKERS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "finite": (
        HEALTH,
        ("reciprocal.default", Ref(2)),
        ("mul.Tensor", Ref(3), 0.5),
        ("slice.Tensor", Ref(4), 1, 0, 1),
        ("sum.dim_IntList", QS, (1,), True),
        ("add.Tensor", Ref(6), Ref(5)),
    ),
    "finite_gradient": (
        TOTAL,
        ("square.default", Ref(2)),
        ("sqrt.default", Ref(3)),
        ("add.Tensor", Ref(2), Ref(4)),
    ),
    "someone_credited": (HEALTH, ("sum.dim_IntList", Ref(2), (1,), True)),
}


@pytest.mark.parametrize("name", BREAKERS)
def test_what_breaks_one_property_breaks_no_other(name: str) -> None:
    found = failures(results(mixing(CARD, *BREAKERS[name])))
    assert set(found) == {name}


def test_a_function_that_is_not_monotone_is_caught_twice() -> None:
    graph = mixing(
        CARD, ("slice.Tensor", QS, 1, 0, 1), ("slice.Tensor", QS, 1, 1, 2),
        ("sub.Tensor", Ref(2), Ref(3)),
    )  # fmt: skip
    found = failures(results(graph))
    assert set(found) == {"monotone", "greedy_is_best"}
    assert "raising agent 1's Q" in found["monotone"]
    assert not failures(results(graph, GateConfig(mode="relax")))


def test_what_falls_beyond_the_bound_of_qs_is_no_failure() -> None:
    bound = CARD.q_bound()
    graph = mixing(
        CARD, ("sub.Scalar", QS, bound), ("relu.default", Ref(2)), ("mul.Scalar", Ref(3), 3.0),
        ("sub.Tensor", QS, Ref(4)), ("sum.dim_IntList", Ref(5), (1,), True),
    )  # fmt: skip
    found = results(graph)
    assert not failures(found)
    assert found["monotone"].status == "proved"
    inside = mixing(
        CARD, ("sub.Scalar", QS, bound - 1.0), ("relu.default", Ref(2)),
        ("mul.Scalar", Ref(3), 3.0), ("sub.Tensor", QS, Ref(4)),
        ("sum.dim_IntList", Ref(5), (1,), True),
    )  # fmt: skip
    assert "monotone" in failures(results(inside))


def test_a_fall_in_a_corner_of_the_states_is_found() -> None:
    """Only where two agents stand in the same cell and the first food is gone."""
    source = (
        "def tfcaf(agent_qs, state):\n"
        "    together = (state[:, 0:2] == state[:, 3:5]).all(dim=1, keepdim=True)\n"
        "    gone = state[:, 9:10] == -1\n"
        "    sign = torch.where(together & gone, -1.0, 1.0)\n"
        "    return (agent_qs * sign).sum(dim=1, keepdim=True)\n"
    )
    found = failures(results(export(source, CARD)))
    assert "monotone" in found
    assert "food=[-1" in found["monotone"] or "food[*]=-1" in found["monotone"]


@pytest.mark.parametrize("name", ["finite", "finite_gradient"])
def test_a_counterexample_names_the_columns_of_the_card(name: str) -> None:
    text = failures(results(mixing(CARD, *BREAKERS[name])))[name]
    for part in ("agent", "food", "health", "agent_qs ("):
        assert part in text
    assert len(text) < 700


def test_a_counterexample_holds_when_it_is_tried_again() -> None:
    card = small_card(low=-1.0, high=1.0)
    graph = apply_gate(
        mixing(card, ("slice.Tensor", STATE, 1, 0, 2), ("mul.Tensor", Ref(2), QS),
               ("sum.dim_IntList", Ref(3), (1,), True)),
        GateConfig(),
    )  # fmt: skip
    proof = prove(graph, infer_types(graph), card)
    found = {r.name: r for r in suite_of(graph, card, proof, SandboxConfig())}
    text = found["monotone"].counterexample
    assert text is not None
    state = torch.tensor(
        [[float(p.split("=")[1]) for p in text.split("state ")[1].split(";")[0].split(", ")]]
    )
    numbers = text.split("agent_qs (")[1].rstrip(")").split(", ")
    qs = torch.tensor([[float(n) for n in numbers]])
    agent = int(text.split("agent ")[1].split("'")[0])
    raised = qs.clone()
    raised[0, agent] += float(text.split("Q by ")[1].split(" ")[0])
    function = CreditFunction(graph)
    assert float(function(raised, state)) < float(function(qs, state))


class _Forgetful(CreditFunction):
    """Answers differently each time."""

    def __init__(self, graph: CreditGraph) -> None:
        super().__init__(graph)
        self.calls = 0

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(agent_qs, state) + 1e-6 * (self.calls % 7)


def test_what_is_not_deterministic_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.properties, "CreditFunction", _Forgetful)
    assert "deterministic" in failures(results(mixing(CARD, TOTAL), examples=5))


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING])
def test_a_sound_function_passes(name: str) -> None:
    found = results(graph_of(name), examples=8)
    assert not failures(found)
    assert found["greedy_is_best"].status in ("pass", "proved")


def test_warnings_say_what_is_odd_and_reject_nothing() -> None:
    source = (
        "def tfcaf(agent_qs, state):\n"
        "    spare = state[:, 30:32].sum(dim=1, keepdim=True)\n"
        "    return agent_qs[:, :1] * 5000 * (1 + state[:, 15:16]) + spare\n"
    )
    found = results(export(source, CARD))
    assert not failures(found)
    warned = {n: r.detail for n, r in found.items() if r.status == "warn"}
    assert set(warned) == {"every_agent_credited", "unused_columns", "slope_scale"}
    assert "1, 2" in warned["every_agent_credited"]
    assert "`spare`" in warned["unused_columns"]
    assert "1e+04" in warned["slope_scale"]
    plain = results(mixing(CARD, TOTAL))
    assert plain["state_matters"].status == "warn"
    assert "does not read the state" in plain["state_matters"].detail


RARELY = """
def tfcaf(agent_qs, state):
    x, y = state[:, 0:6:3], state[:, 1:6:3]
    beside = ((x - state[:, 6:7]).abs() + (y - state[:, 7:8]).abs() == 1).float()
    both = (beside.sum(dim=1, keepdim=True) == 2).float() * (state[:, 8:9] == 4).float()
    return ((1 + both * beside) * agent_qs).sum(dim=1, keepdim=True)
"""


@pytest.mark.parametrize(("scale", "status"), [("1", "pass"), ("0", "warn")])
def test_a_state_that_rarely_matters_is_looked_for(scale: str, status: str) -> None:
    card = load_card("lbf/8x8-2p-2f-coop-2s")
    source = RARELY.replace("both * beside", f"{scale} * both * beside")
    found = results(export(source, card), card=card)["state_matters"]
    assert found.status == status
    assert ("none of the states that were tried" in found.detail) is (status == "warn")


def test_proofs_and_tests_do_not_contradict_each_other() -> None:
    claims = {"finite": "finite", "monotone": "monotone", "greedy_is_best": "monotone"}
    judged = 0
    for seed in range(36):
        graph = apply_gate(random_graph(CARD, seed), GateConfig())
        try:
            proof = prove(graph, infer_types(graph), CARD)
        except GraphError:
            continue
        found = suite_of(graph, CARD, proof, SandboxConfig(examples=8))
        judged += 1
        for result in found:
            claim = claims.get(result.name)
            proved = claim is not None and getattr(proof, claim)
            assert not (proved and result.status == "fail"), (seed, result)
    assert judged > 30


def test_the_same_seed_says_the_same() -> None:
    graph = graph_of("counts")
    broken = mixing(CARD, *BREAKERS["finite"])
    for each in (graph, broken):
        assert results(each, seed=3) == results(each, seed=3)


def test_every_hard_property_is_asked_for() -> None:
    found = results(mixing(CARD, TOTAL), examples=3)
    assert set(HARD) <= set(found)
    assert found["finite"].examples >= 3


def test_a_small_function_is_tested_fast() -> None:
    gated = apply_gate(graph_of("health weighted"), GateConfig())
    proof = prove(gated, infer_types(gated), CARD)
    suite_of(gated, CARD, proof, SandboxConfig(examples=3))
    started = time.process_time()
    suite_of(gated, CARD, proof, SandboxConfig())
    assert time.process_time() - started < 1.5  # about 0.15 on a quiet core


# ---- what is drawn -------------------------------------------------------------------------------


def test_drawn_states_lie_within_their_card_and_cover_its_oddities() -> None:
    low, high = (np.array([i[k] for i in CARD.column_intervals()]) for k in (0, 1))
    seen: set[str] = set()

    @settings(
        max_examples=150, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(batches(CARD))
    def look(rows: list[Row]) -> None:
        for row in rows:
            state = row.state(CARD)
            assert ((state >= low) & (state <= high)).all()
            assert (np.abs(row.agent_qs(CARD, CARD.q_bound())) <= CARD.q_bound()).all()
            assert (state[:15] == np.round(state[:15])).all()
            roles = state[18:30].reshape(3, 4)
            assert set(np.unique(roles)) <= {0.0, 1.0}
            assert (roles.sum(1) <= 1).all()
            seen.add(row.mode)
            seen.update(
                name
                for name, here in (
                    ("eaten", (state[9:15] == -1).any()),
                    ("all eaten", (state[9:15] == -1).all()),
                    ("together", (state[0:2] == state[3:5]).all()),
                    ("overridden", bool(row.overrides)),
                    ("no values", not row.agent_qs(CARD, 8.0).any()),
                )
                if here
            )

    look()
    assert seen >= {*MODES, "eaten", "all eaten", "together", "overridden", "no values"}


def test_a_card_without_free_columns_is_drawn_too() -> None:
    card = small_card(kind="onehot")
    graph = apply_gate(
        mixing(card, ("sum.dim_IntList", QS, (1,), True),
               ("full.default", (Batch(0, 1), 1), 1.0), ("add.Tensor", Ref(2), Ref(3))),
        GateConfig(),
    )  # fmt: skip
    proof = prove(graph, infer_types(graph), card)
    assert all(r.status != "fail" for r in suite_of(graph, card, proof, SandboxConfig()))


def test_an_operation_without_a_derivative_is_a_failure_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cut(CreditFunction):
        def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
            return torch.floor_divide(super().forward(agent_qs, state), 1.0)

    monkeypatch.setattr(sandbox.properties, "CreditFunction", Cut)
    found = failures(results(mixing(CARD, TOTAL), examples=5))
    assert "no gradient" in found["finite_gradient"]


def test_whole_quotients_have_a_gradient() -> None:
    graph = mixing(
        CARD, TOTAL, ("floor_divide.default", Ref(2), 2.0), ("add.Tensor", Ref(3), Ref(2))
    )
    assert not failures(results(graph))


def test_a_state_that_only_play_brings_about_is_tried() -> None:
    """It fails within a sliver of the ranges that no drawing hits, and where play has been."""
    card = load_card("matrix/climbing")
    graph = apply_gate(
        export(
            "def f(agent_qs, state):\n"
            "    rare = ((state - 0.71).abs() < 1e-3).all(dim=1, keepdim=True).float()\n"
            "    return agent_qs.sum(1, keepdim=True) * (1.0 - 2.0 * rare)\n",
            card,
        ),
        GateConfig(),
    )
    proof = prove(graph, infer_types(graph), card)
    config = SandboxConfig(examples=20)
    monotone = {
        bool(states): next(
            p for p in suite_of(graph, card, proof, config, states) if p.name == "monotone"
        )
        for states in ((), ((0.0, 1.0), (0.71, 0.71)))
    }
    assert monotone[False].status == "pass"
    assert monotone[True].status == "fail"
    assert "a state that occurred in play" in str(monotone[True].counterexample)
