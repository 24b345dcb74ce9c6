"""The prover against brute force: random graphs, sampled programs, functions by hand."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from sandbox_brute_force import refute
from sandbox_random_graphs import TEMPLATES, random_graph
from sandbox_small_graphs import QS, STATE, mixing, proof_of, small_card
from sandbox_written_functions import (
    MIXING,
    REFUTABLE,
    WEIGHTS,
    export,
    foraging_card,
    graph_of,
)

from prompts.cards import TaskCard, load_card
from sandbox.claims import Proof
from sandbox.config import GateConfig
from sandbox.export_json import ExportError
from sandbox.findings import PolicyError
from sandbox.gate import apply_gate
from sandbox.graph import GraphError, Ref
from sandbox.prover.rules import RULES
from sandbox.reading import read_graph
from sandbox.table import OPS
from synth.programs.odds import Odds
from synth.programs.writer import write_program

EVERYDAY_GRAPHS, EVERYDAY_PROGRAMS = 120, 10
LONG_GRAPHS, LONG_PROGRAMS = 10_000, 600


@pytest.fixture(autouse=True)
def _quiet_and_single() -> Iterator[None]:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of one number, and the like
        yield


def grid_card() -> TaskCard:
    """Two agents among reals and sentinels, with few columns."""
    return TaskCard.model_validate(
        {
            "name": "grid", "title": "grid", "prose": "A grid.", "n_agents": 2, "n_actions": 2,
            "action_names": ["a", "b"], "horizon": 20,
            "reward": {"low": -5, "high": 5, "meaning": "made up"},
            "state": [
                {"name": "near", "shape": [2, 2], "agent_axis": 0, "kind": "real", "low": -1.001,
                 "high": 2.502, "meaning": "made up"},
                {"name": "last", "shape": [2], "agent_axis": 0, "kind": "integer", "low": 0,
                 "high": 4, "sentinels": [-1], "sentinel_meaning": "none yet", "meaning": "?"},
                {"name": "flag", "shape": [2], "kind": "boolean", "low": 0, "high": 1,
                 "meaning": "made up"},
            ],
            "env": {"kind": "none"},
        }
    )  # fmt: skip


CARDS = [grid_card(), foraging_card(), load_card("matrix/climbing"), small_card(agents=1)]


def gate_of(seed: int) -> GateConfig:
    """Every gate in turn."""
    return GateConfig(
        mode=("enforce", "relax")[seed % 2],
        function=("abs", "softplus", "relu", "softmax")[seed // 2 % 4],
        scale_by_agents=seed // 8 % 2 == 1,
    )


def tally(counts: Counter[str], proof: Proof) -> None:
    """Count what was proved."""
    counts["judged"] += 1
    for name in ("monotone", "monotone_over_reals", "linear_in_q", "finite", "finite_gradient"):
        counts[name] += getattr(proof, name)


def show(title: str, counts: Counter[str]) -> None:
    """Print the share proved."""
    judged = counts["judged"]
    shares = ", ".join(f"{k} {v / judged:.0%}" for k, v in counts.items() if k != "judged")
    print(f"\n{title}: {judged} judged; proved: {shares}")


def random_graphs(seeds: range) -> Counter[str]:
    """Refute what is claimed of random graphs."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        card = CARDS[seed % len(CARDS)]
        try:
            graph = apply_gate(random_graph(card, seed), gate_of(seed // 4))
            tally(counts, refute(graph, card, seed))
        except GraphError:
            continue
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
    return counts


def sampled_programs(seeds: range) -> Counter[str]:
    """Refute what is claimed of programs that the sampler writes."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        card = CARDS[seed % len(CARDS)]
        program = write_program(card, random.Random(seed), Odds())
        try:
            graph = apply_gate(export(program.source, card), gate_of(seed // 4))
            tally(counts, refute(graph, card, seed))
        except (GraphError, ExportError, PolicyError):
            continue
        except AssertionError as error:
            raise AssertionError(f"program {seed}: {error}\n{program.source}") from None
    return counts


def test_no_claim_about_a_random_graph_is_refuted() -> None:
    counts = random_graphs(range(EVERYDAY_GRAPHS))
    show("random graphs", counts)
    assert counts["judged"] > EVERYDAY_GRAPHS * 0.8


def test_a_bound_on_the_first_of_two_results_leaves_the_second() -> None:
    """`where(values < 0, indices, values)` of one ``max`` ended in an error."""
    assert random_graphs(range(64_020, 64_021))["judged"] == 1


def test_no_claim_about_a_sampled_program_is_refuted() -> None:
    counts = sampled_programs(range(EVERYDAY_PROGRAMS))
    show("sampled programs", counts)
    assert counts["judged"] > EVERYDAY_PROGRAMS * 0.8


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_claim_about_ten_thousand_random_programs_is_refuted() -> None:
    """About 12 minutes on one core, with the shares proved printed:

    ``python -m pytest -m slow -s tests/sandbox/test_sandbox_prover.py``
    """
    graphs = random_graphs(range(100_000, 100_000 + LONG_GRAPHS))
    show("random graphs", graphs)
    programs = sampled_programs(range(100_000, 100_000 + LONG_PROGRAMS))
    show("sampled programs", programs)
    assert graphs["judged"] + programs["judged"] >= 10_000


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING, *REFUTABLE])
def test_no_claim_about_a_written_function_is_refuted(name: str) -> None:
    card = foraging_card()
    proof = refute(apply_gate(graph_of(name), GateConfig()), card, 1)
    if name in WEIGHTS:
        assert proof.monotone  # by the gate
        assert proof.linear_in_q


UNPROVED_FINITE = {"team mates", "pole"}
UNPROVED_MONOTONE = {"team mates"}
OVER_REALS = {"soft maximum", "bent", "smooth"}
"""Monotone but for the rounding of exponentials and logarithms."""


def test_what_is_sound_in_written_functions_is_proved() -> None:
    card = foraging_card()
    counts: Counter[str] = Counter()
    for name in [*WEIGHTS, *MIXING, *REFUTABLE]:
        proof = proof_of(graph_of(name), card)
        tally(counts, proof)
        assert proof.finite == (name not in UNPROVED_FINITE), name
        assert proof.finite_gradient == proof.finite, name
        sound = name not in REFUTABLE and name not in UNPROVED_MONOTONE
        assert proof.monotone_over_reals == sound, name
        assert proof.monotone == (sound and name not in OVER_REALS), name
    show("written functions", counts)


def test_every_rule_is_for_an_operation_that_graphs_may_contain() -> None:
    assert not set(RULES) - set(OPS)


def test_every_operation_has_a_rule() -> None:
    assert not set(OPS) - set(RULES)


def test_the_random_graphs_reach_every_family() -> None:
    reached = {OPS[f"aten.{name}"].family for name, _, _ in TEMPLATES}
    assert reached == {spec.family for spec in OPS.values()}


def test_exact_ends_stay_exact() -> None:
    """1 - x / 7 for x up to 7 is never negative, in either arithmetic."""
    card = small_card(high=7.0, columns=2)
    graph = mixing(
        card,
        ("div.Tensor", STATE, 7.0),
        ("rsub.Scalar", Ref(2), 1.0),
        ("mul.Tensor", Ref(3), QS),
        ("sum.dim_IntList", Ref(4), (1,), True),
    )
    proof = proof_of(graph, card)
    assert proof.monotone
    assert proof.slopes == ((0.0, 1.0), (0.0, 1.0))


def test_slopes_are_bounds_of_each_agents_weight() -> None:
    card = small_card(low=0.25, high=0.5, columns=2)
    graph = mixing(card, ("mul.Tensor", STATE, QS), ("sum.dim_IntList", Ref(2), (1,), True))
    assert proof_of(graph, card, GateConfig(scale_by_agents=True)).slopes == ((0.5, 1.0),) * 2


def test_an_agent_that_is_left_out_is_named() -> None:
    graph = mixing(CARDS[0], ("slice.Tensor", QS, 1, 0, 1))
    assert proof_of(graph, CARDS[0]).slopes[1] == (0.0, 0.0)


def test_a_graph_is_not_proved_finite_beyond_float32() -> None:
    graph = mixing(
        CARDS[0],
        ("mul.Tensor", QS, 1e37),
        ("sum.dim_IntList", Ref(2), (1,), True),
    )
    proof = proof_of(graph, CARDS[0])
    assert not proof.finite
    assert not proof.monotone  # what may be infinite is not called proved
    assert not proof.monotone_over_reals


def test_proofs_do_not_depend_on_how_a_graph_was_numbered() -> None:
    card = foraging_card()
    graph = graph_of("counts")
    again = read_graph(graph.to_json())
    assert proof_of(graph, card) == proof_of(again, card)
