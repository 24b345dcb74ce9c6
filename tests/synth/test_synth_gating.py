"""The gate under ``auto``: settled by paired pilots, the evaluator proposing a first guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from synth_fakes import FakePilot, Script, Words, check, rounds

from marl.statistics import t_interval
from prompts.cards import load_card
from synth import events
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.gating import GateSearch
from synth.judge import Proposal
from synth.loop import synthesise
from synth.measured import MeasuredEvaluator

CARD = load_card("matrix/climbing")


def gated(source: str, mode: str) -> Any:
    """``ok:weights:x`` is another function under each gate; ``ok:mixing:x`` the same under both;
    ``only-relax:x`` is refused under enforce."""
    kind, *rest = source.split(":")
    if kind == "only-relax":
        return check(f"ok:mixing:{rest[0]}" if mode == "relax" else "no:properties.monotone")
    report = check(source)
    if report.signature == "weights":
        name = f"{report.graph_hash}-{mode}"
        graph: Any = type(report.graph)(name)  # type: ignore[misc]
        object.__setattr__(graph, "gate", None)
        return replace(report, graph_hash=name, graph=graph, gate=mode)
    return replace(report, gate=mode)


def search(
    coder: Script,
    returns: dict[str, float | None],
    proposal: Proposal | str | None = None,
    **settings: Any,
) -> tuple[SynthesisResult, list[Any], FakePilot]:
    seen: list[Any] = []
    pilot = FakePilot(returns)
    gauge = MeasuredEvaluator(
        pilot, seeds=[1, 2, 3], steps=100, interval=t_interval, baseline=False
    )
    around = SearchContext(
        coder=coder,
        check=gated,
        evaluator=gauge,
        emit=seen.append,
        control=lambda: "continue",
        render=Words(),
        gate=GateSearch(gated, gauge, 100, lambda: proposal),
    )
    config = SynthConfig(**{"rounds": 1, "candidates": 2, "repairs": 0, **settings})
    return synthesise(CARD, config, around), seen, pilot


def settled(seen: list[Any]) -> events.GateSettled:
    (event,) = [e for e in seen if isinstance(e, events.GateSettled)]
    return event


PROPOSES = Proposal("enforce", "credit is shared", "judge")


def test_relax_wins_where_its_best_function_is_clearly_better() -> None:
    returns: dict[str, float | None] = {"a-relax": 9.0, "a-enforce": 5.0}
    result, seen, pilot = search(rounds(["ok:weights:a", "no:p"]), returns)
    assert (result.gate, settled(seen).mode) == ("relax", "relax")
    assert "relax minus enforce is +4 [3.9, 4.1] on 3 seeds" in settled(seen).reason
    assert settled(seen).evidence["difference"]["functions"] == 1
    assert result.selected is not None
    assert result.selected.graph_hash == "a-relax"
    assert pilot.asked == [("a-relax", "a-enforce")]
    assert len(set(pilot.conditions)) == 1, "both are trained with the same seeds and steps"


@pytest.mark.parametrize("relax", [(9.0, 5.5, 4.0), (5.0, 5.5, 6.0), (4.0, 4.5, 5.1)])
def test_on_noise_monotonicity_stays(relax: tuple[float, ...]) -> None:
    """The first is far above on average, but not with every seed."""
    returns: dict[str, Any] = {"a-relax": relax, "a-enforce": (5.0, 5.5, 6.0)}
    result, _, _ = search(rounds(["ok:weights:a", "no:p"]), returns)
    assert result.gate == "enforce"
    assert result.selected is not None
    assert result.selected.graph_hash == "a-enforce"


def test_a_proposal_to_relax_needs_a_gain_that_is_measured() -> None:
    returns: dict[str, float | None] = {"a-relax": 5.0, "a-enforce": 5.0}
    proposal = Proposal("relax", "agents hurt each other", "judge")
    result, seen, _ = search(rounds(["ok:weights:a", "no:p"]), returns, proposal)
    assert result.gate == "enforce"
    assert "shows no gain" in settled(seen).reason
    assert settled(seen).evidence["proposal"]["reason"] == "agents hurt each other"


def test_the_difference_of_several_functions_is_taken_seed_by_seed() -> None:
    returns: dict[str, Any] = {
        "a-relax": (6.0, 7.0, 8.0),
        "a-enforce": (5.0, 5.9, 7.0),
        "b-relax": (1.0, 2.0, 3.0),
        "b-enforce": (0.0, 1.1, 2.0),
    }
    result, seen, _ = search(rounds(["ok:weights:a", "ok:weights:b"]), returns)
    assert result.gate == "enforce", "the mean over both differs by 1 with every seed: no spread"
    returns["b-enforce"] = (0.0, 1.0, 2.1)
    result, seen, _ = search(rounds(["ok:weights:a", "ok:weights:b"]), returns)
    assert result.gate == "relax"
    assert settled(seen).evidence["difference"]["seeds"] == 3


def test_measurement_overrules_the_proposal() -> None:
    returns: dict[str, float | None] = {"a-relax": 9.0, "a-enforce": 5.0}
    result, _, _ = search(rounds(["ok:weights:a", "no:p"]), returns, PROPOSES)
    assert result.gate == "relax"


def test_functions_that_are_the_same_under_both_gates_are_not_trained_for_it() -> None:
    result, seen, pilot = search(rounds(["ok:mixing:m", "no:p"]), {"m": 3.0})
    assert result.gate == "enforce"
    assert pilot.asked == [("m",)], "trained once, for the selection alone"
    assert settled(seen).evidence["scores"][0]["same"] is True


def test_what_only_one_gate_accepts_is_no_pair_and_decides_nothing() -> None:
    coder = rounds(["ok:weights:a", "only-relax:b"])
    returns: dict[str, float | None] = {"a-relax": 5.0, "a-enforce": 5.0, "b": 50.0}
    result, seen, pilot = search(coder, returns)
    assert result.gate == "enforce"
    assert pilot.asked[0] == ("a-relax", "a-enforce")
    assert settled(seen).evidence["scores"][1]["enforce_refused"] == "properties.monotone"
    checked = [e.candidate for e in seen if isinstance(e, events.CandidateChecked)]
    assert [c.accepted for c in checked if c.slot == 1] == [True, False], "refused now"
    assert result.accepted == 1


def test_relax_remains_where_no_function_can_be_used_under_enforce() -> None:
    result, seen, _ = search(rounds(["only-relax:a", "only-relax:b"]), {"a": 1.0, "b": 2.0})
    assert result.gate == "relax"
    assert "no function could be used under enforce" in settled(seen).reason


def test_the_first_guess_decides_what_the_coder_is_told() -> None:
    for proposal, told in ((None, "system|relax"), (PROPOSES, "system")):
        coder = rounds(["ok:weights:a", "no:p"])
        search(coder, {}, proposal)
        assert coder.calls[0]["messages"][0].content == told


def test_after_the_decision_everything_is_written_and_checked_under_it() -> None:
    returns: dict[str, float | None] = {"a-relax": 1.0, "a-enforce": 5.0}
    coder = rounds(["ok:weights:a", "no:p"], ["ok:weights:b", "no:p"])
    result, _, _ = search(coder, returns, rounds=2)
    assert coder.calls[1]["messages"][0].content == "system"
    assert {c.report.gate for c in result.candidates if c.accepted} == {"enforce"}


def test_rounds_without_an_accepted_function_leave_it_open() -> None:
    coder = rounds(["no:p", "no:p"], ["ok:weights:a", "no:p"])
    returns: dict[str, float | None] = {"a-relax": 9.0, "a-enforce": 5.0}
    result, seen, _ = search(coder, returns, rounds=2)
    assert result.gate == "relax"
    assert settled(seen)


def test_a_proposal_of_no_use_is_said_and_measurement_decides() -> None:
    returns: dict[str, float | None] = {"a-relax": 9.0, "a-enforce": 5.0}
    result, seen, _ = search(rounds(["ok:weights:a", "no:p"]), returns, "no answer of use")
    assert result.gate == "relax"
    assert any("no proposal" in e.text for e in seen if isinstance(e, events.Noted))


def test_two_functions_that_become_one_under_the_gate_are_judged_once() -> None:
    def one_under_enforce(source: str, mode: str) -> Any:
        report = gated(source, mode)
        if mode == "enforce" and report.accepted:
            graph: Any = type(report.graph)("one")  # type: ignore[misc]
            object.__setattr__(graph, "gate", None)
            return replace(report, graph_hash="one", graph=graph)
        return report

    seen: list[Any] = []
    gauge = MeasuredEvaluator(
        FakePilot({"one": 9.0}), seeds=[1], steps=10, interval=t_interval, baseline=False
    )
    around = SearchContext(
        coder=rounds(["ok:weights:a", "ok:weights:b"]),
        check=one_under_enforce,
        evaluator=gauge,
        emit=seen.append,
        control=lambda: "continue",
        render=Words(),
        gate=GateSearch(one_under_enforce, gauge, 10),
    )
    result = synthesise(CARD, SynthConfig(rounds=1, candidates=2, repairs=0), around)
    assert [c.duplicate_of for c in result.candidates] == [None, "r0.s0.0"]
