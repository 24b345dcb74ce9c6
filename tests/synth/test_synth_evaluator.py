"""Measured evaluation: ranking, ties, paired conditions, and the words made of the numbers."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from synth_fakes import FakePilot, check

from marl.statistics import t_interval
from synth import advice, events
from synth.candidates import Candidate, rejections_by_rule, rejections_in_words
from synth.evaluator import FirstAccepted
from synth.measured import MeasuredEvaluator, rungs
from synth.pilot import BASELINE_KEY, PilotScore


def candidate(source: str, slot: int = 0, round_: int = 0) -> Candidate:
    return Candidate(round_, slot, 0, source, check(source))


def score(
    key: str,
    final: float | tuple[float, ...],
    area: float | None = None,
    curve: tuple[tuple[int, float], ...] = (),
) -> PilotScore:
    finals = final if isinstance(final, tuple) else (float(final),)
    areas = finals if area is None else (float(area),) * len(finals)
    return PilotScore(key, finals, areas, curve, 10)


def measured(pilot: Any, **settings: Any) -> MeasuredEvaluator:
    return MeasuredEvaluator(pilot, **{"seeds": [1], "interval": t_interval, **settings})


def chosen_of(known: dict[str, PilotScore], seeds: int) -> Any:
    """The judgement on functions whose scores are known."""
    found = [candidate(f"ok:weights:{name}", i) for i, name in enumerate(known)]
    scores = {
        (name, 10): replace(s, key=c.key) for (name, s), c in zip(known.items(), found, strict=True)
    }
    evaluator = measured(FakePilot({}), seeds=range(seeds), steps=10, baseline=False, known=scores)
    return judge(evaluator, *found)


def judge(evaluator: Any, *candidates: Candidate, incumbent: Candidate | None = None) -> Any:
    return evaluator.judge(candidates, incumbent, round_=0, emit=lambda _: None)


def test_all_candidates_and_the_plain_sum_are_measured_under_the_same_conditions() -> None:
    pilot = FakePilot({"a": 1, "b": 2})
    evaluator = measured(pilot, seeds=[7, 8], steps=50)
    judge(evaluator, candidate("ok:weights:a"), candidate("ok:weights:b", 1))
    judge(evaluator, candidate("ok:weights:c", 2, 1), incumbent=candidate("ok:weights:b", 1))
    assert pilot.asked == [("vdn", "a", "b"), ("c",)]
    assert set(pilot.conditions) == {((7, 8), 50)}


def test_events_name_what_is_measured() -> None:
    seen: list[Any] = []
    evaluator = measured(FakePilot({"a": 1}), seeds=[7], steps=50)
    evaluator.judge([candidate("ok:weights:a")], None, round_=3, emit=seen.append)
    assert seen[0] == events.PilotStarted(3, ("vdn", "r0.s0.0"), (7,), 50)
    assert [(e.round, e.key, e.graph_hash) for e in seen[1:]] == [
        (3, "vdn", None),
        (3, "r0.s0.0", "a"),
    ]


def test_the_incumbent_is_kept_if_nothing_new_is_better() -> None:
    evaluator = measured(FakePilot({"a": 5, "b": 2}), seeds=[1], steps=10)
    old = candidate("ok:weights:a")
    assert judge(evaluator, old).selected is old
    assert judge(evaluator, candidate("ok:weights:b", 1, 1), incumbent=old).selected is old


def test_ties_are_broken_by_area_then_size_then_hash() -> None:
    def chosen(**scores: PilotScore) -> str:
        sizes = {"a": 9, "b": 5, "c": 5}
        found = [candidate(f"ok:weights:{n}:{sizes[n]}", i) for i, n in enumerate(scores)]
        known = {(n, 10): s for n, s in scores.items()}
        evaluator = measured(FakePilot({}), seeds=[1], steps=10, known=known)
        picked = judge(evaluator, *reversed(found)).selected
        assert picked is not None
        return picked.graph_hash

    assert chosen(a=score("a", 3, 9), b=score("b", 3, 8), c=score("c", 3, 7)) == "a"
    assert chosen(a=score("a", 3), b=score("b", 3)) == "b"
    assert chosen(c=score("c", 3), b=score("b", 3)) == "b"


def test_known_scores_are_not_measured_again() -> None:
    pilot = FakePilot({"b": 1})
    known = {(BASELINE_KEY, 10): score("vdn", 0), ("a", 10): score("r0.s0.0", 4)}
    evaluator = measured(pilot, seeds=[1], steps=10, known=known)
    judge(evaluator, candidate("ok:weights:a"), candidate("ok:weights:b", 1))
    assert pilot.asked == [("b",)]
    assert evaluator.pilot_steps == 30


def test_a_pilot_that_scores_something_else_is_an_error() -> None:
    def wrong(*_: Any) -> list[PilotScore]:
        return [score("other", 1)]

    with pytest.raises(ValueError, match="was asked for"):
        judge(measured(wrong, seeds=[1], steps=1), candidate("ok:weights:a"))


@pytest.mark.parametrize("seeds", [[], [3, 3]])
def test_pilot_seeds_must_be_distinct(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="pilot seeds"):
        measured(FakePilot({}), seeds=seeds, steps=1)


def test_a_score_is_either_complete_or_an_error() -> None:
    with pytest.raises(ValueError, match="cannot have a score"):
        PilotScore("a", (1.0,), (1.0,), error="diverged")
    with pytest.raises(ValueError, match="needs a score for each seed"):
        PilotScore("a", (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="not finite"):
        PilotScore("a", (float("nan"),), (1.0,))
    with pytest.raises(ValueError, match="has no score: diverged"):
        _ = PilotScore("a", error="diverged").final_mean


def test_a_rare_success_counts_as_its_mean() -> None:
    """An IQM over episodes is 0 for every function that succeeds in an eighth of them or fewer."""
    rare = tuple(fmean([1.0] * k + [0.0] * (8 - k)) for k in (1, 1, 1))
    judgement = chosen_of({"never": score("", (0.0, 0.0, 0.0)), "rare": score("", rare)}, 3)
    assert judgement.selected.graph_hash == "rare"
    assert "mean return 0.125" in judgement.reason


def test_a_choice_is_decided_where_the_paired_interval_is_above_zero() -> None:
    clear = {"a": score("", (5.0, 6.1, 7.0)), "b": score("", (4.0, 5.0, 6.1))}
    judgement = chosen_of(clear, 3)
    assert judgement.decided
    assert judgement.selected.graph_hash == "a"
    assert "undecided" not in judgement.reason
    assert "above r0.s1.0, the nearest, by +1 [0.752, 1.25] on 3 seeds" in judgement.reason


@pytest.mark.parametrize(
    "known",
    [
        {"a": score("", (5.0, 9.0, 1.0)), "b": score("", (4.0, 5.0, 6.0))},
        {"a": score("", (5.0,)), "b": score("", (1.0,))},
        {"a": score("", (5.0, 5.0)), "b": score("", (1.0, 1.0))},
        {"a": score("", (5.0, 6.0, 7.1))},
    ],
    ids=["noise", "one seed", "no spread", "alone"],
)
def test_a_choice_that_no_interval_sets_apart_is_undecided(known: dict[str, PilotScore]) -> None:
    judgement = chosen_of(known, len(next(iter(known.values())).finals))
    assert not judgement.decided
    assert judgement.selected.graph_hash == "a"
    assert judgement.reason.startswith("undecided: ")


def test_the_area_ranks_where_only_it_tells_the_functions_apart() -> None:
    a = PilotScore("", (1.0, 0.0, 1.0), (0.1, 0.2, 0.3))
    b = PilotScore("", (0.0, 1.0, 0.0), (0.5, 0.61, 0.7))
    judgement = chosen_of({"a": a, "b": b}, 3)
    assert (judgement.selected.graph_hash, judgement.decided) == ("b", True)
    assert "has the highest area under the curve of 2" in judgement.reason


def test_a_choice_is_held_against_every_function_of_the_search_also_dropped_ones() -> None:
    noisy = {"a": (9.0, 9.1, 9.2), "b": (8.0, 8.2, 8.3), "c": (0.0, 9.0, 9.0), "d": (1.0, 1.1, 1.3)}
    evaluator = measured(FakePilot(noisy), seeds=[1, 2, 3], steps=64, baseline=False)
    found = [candidate(f"ok:weights:{n}", i) for i, n in enumerate("abcd")]
    judgement = judge(evaluator, *found)
    assert judgement.selected is found[0]
    assert not judgement.decided, "c was left behind, but not told from a"
    assert "do not tell r0.s0.0 (mean return 9.1) from r0.s2.0" in judgement.reason
    later = candidate("ok:weights:e", 0, 1)
    assert not judge(evaluator, later, incumbent=found[0]).decided


def test_a_choice_that_was_never_held_against_a_dropped_function_is_undecided() -> None:
    """The first round trains for all steps only, the second drops half after half of them."""
    returns: dict[str, Any] = {"a": (9.0, 9.2, 9.1), "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0}
    evaluator = measured(FakePilot(returns), seeds=[1, 2, 3], steps=64, baseline=False)
    first = candidate("ok:weights:a")
    judge(evaluator, first)
    later = [candidate(f"ok:weights:{n}", i, 1) for i, n in enumerate("bcde")]
    judgement = judge(evaluator, *later, incumbent=first)
    assert judgement.selected is first
    assert not judgement.decided
    assert "was never held against r1.s2.0, r1.s3.0" in judgement.reason


def test_alike_returns_are_warned_of() -> None:
    seen: list[Any] = []
    evaluator = measured(FakePilot({"a": 5.0, "b": 4.99}), seeds=[1, 2], steps=10)
    found = [candidate(f"ok:weights:{n}", i) for i, n in enumerate("ab")]
    evaluator.judge(found, None, round_=0, emit=seen.append)
    assert [e.level for e in seen if isinstance(e, events.Noted)] == ["warning"]


def test_the_first_accepted_is_the_lowest_slot_whatever_the_order() -> None:
    two, one = candidate("ok:weights:b", 2), candidate("ok:weights:a", 1)
    assert judge(FirstAccepted(), two, one).selected is one
    assert judge(FirstAccepted(), one, two).selected is one
    assert judge(FirstAccepted(), incumbent=two).selected is two
    assert judge(FirstAccepted()).selected is None


def test_the_reason_says_why_one_of_equals_was_taken() -> None:
    def reason(*scores: PilotScore) -> str:
        return str(chosen_of(dict(zip("ab", scores, strict=False)), 2).reason)

    assert "taken for the highest mean return" in reason(score("", (5, 6)), score("", (5, 5)))
    tied = reason(score("", (5, 6), 3), score("", (5, 6), 2))
    assert "taken for the largest area under the curve" in tied
    assert "taken for the smaller graph" in reason(score("", (5, 6)), score("", (5, 6)))


def test_the_reason_tells_the_paired_difference_to_the_plain_sum() -> None:
    evaluator = measured(FakePilot({"a": (5.0, 6.0), "vdn": (4.0, 4.0)}), seeds=[1, 2], steps=10)
    reason = judge(evaluator, candidate("ok:weights:a")).reason
    assert "against the plain sum (VDN) +1.5 [-4.85, 7.85] on 2 seeds" in reason


def test_the_evaluation_of_untrained_agents_is_in_no_average() -> None:
    curve = ((0, 156.5), (1000, 124.0), (2000, 125.0))
    measured_so = replace(score("a", (124, 126), curve=curve), episodes=64, updates=90)
    text = advice.result(measured_so, None, 2000)
    assert "Trained 2 times for 2,000 environment steps (90 updates)" in text
    assert "125 an episode (mean over the trainings of 64 episodes in the last evaluation)" in text
    assert "2 evaluations while it was trained had 124.5 on average, the best of them 125." in text
    assert "Untrained agents had 156.5." in text
    assert "It ended no better than untrained agents." in text


def test_the_result_names_the_units_the_plain_sum_and_the_stall() -> None:
    curve = ((0, 0.0), (50, 9.9), (100, 10.0))
    text = advice.result(score("a", (9, 10, 11), curve=curve), score("vdn", 8), 100)
    assert "Trained 3 times for 100 environment steps" in text
    assert "plain sum of the agents' values (VDN) ended at 8" in text
    assert "hardly rose after step 50" in text


@pytest.mark.parametrize(
    ("curve", "step"),
    [
        (((0, 0.0), (10, 5.0), (20, 10.0)), None),
        (((0, 0.0), (10, 9.8), (20, 10.0)), 10),
        (((0, 0.0), (10, 12.0), (20, 10.0)), 10),
        (((0, 5.0), (10, 3.0), (20, 4.0)), None),
        (((0, 0.0), (10, 9.0)), None),
    ],
)
def test_a_stall_is_where_the_curve_came_near_its_best(
    curve: tuple[tuple[int, float], ...], step: int | None
) -> None:
    assert advice.stalled_at(curve) == step


def test_advice_follows_from_what_was_measured() -> None:
    a, b = candidate("ok:weights:a"), candidate("ok:bent:b", 1)
    field = [(a, score("a", 5)), (b, score("b", 4))]
    worse = advice.next_step(field, short=True, decided=True)
    assert "falls short of the plain sum" in worse
    assert "in weights form 5 (of 1), in mixing form, nonlinear" in worse
    alike = advice.next_step(field, short=False, decided=False)
    assert "do not tell the functions tried so far apart" in alike
    stuck = score("a", 5, curve=((0, 0.0), (10, 5.0), (20, 5.0)))
    field = [(a, stuck), (b, score("b", 1))]
    assert "stays stuck" in advice.next_step(field, short=False, decided=True)
    ahead = advice.next_step([(a, score("a", 9))], short=False, decided=False)
    assert "refine one term" in ahead


def test_rejections_are_counted_by_rule_with_an_example() -> None:
    found = [
        candidate(s, i) for i, s in enumerate(["no:b", "no:a", "no:c", "no:c", "ok:weights:x"])
    ]
    assert list(rejections_by_rule(found).items()) == [("c", 2), ("a", 1), ("b", 1)]
    assert rejections_in_words(found) == "c (2x), a (1x), b (1x). For example: broke c"
    assert rejections_in_words(found[-1:]) == ""


def test_a_rejected_candidate_has_no_graph_hash() -> None:
    with pytest.raises(ValueError, match=r"r0\.s0\.0 was rejected"):
        _ = candidate("no:a").graph_hash


@pytest.mark.parametrize(
    ("count", "steps"),
    [(0, (64,)), (1, (64,)), (3, (64,)), (4, (32, 64)), (7, (32, 64)), (8, (16, 32, 64))],
)
def test_many_functions_are_measured_in_rungs(count: int, steps: tuple[int, ...]) -> None:
    assert rungs(count, 64) == steps
    assert rungs(count, 64, halving=False) == (64,)


def test_only_the_better_half_is_trained_further() -> None:
    returns: dict[str, float | None] = {name: float(ord(name)) for name in "abcdefgh"}
    pilot = FakePilot(returns)
    evaluator = measured(pilot, seeds=[1], steps=64, baseline=False)
    found = [candidate(f"ok:weights:{name}", i) for i, name in enumerate("hgfedcba")]
    judgement = judge(evaluator, *found)
    assert [sorted(names) for names in pilot.asked] == [
        list("abcdefgh"),
        list("efgh"),
        list("gh"),
    ]
    assert [steps for _, steps in pilot.conditions] == [16, 32, 64]
    assert judgement.selected is found[0]
    assert "left behind after 16 steps" in judgement.reason
    assert evaluator.pilot_steps == 8 * 16 + 4 * 32 + 2 * 64


def test_a_failure_in_an_early_rung_is_never_trained_further() -> None:
    pilot = FakePilot({"a": None, "b": 1, "c": 2, "d": 3})
    evaluator = measured(pilot, seeds=[1], steps=64, baseline=False)
    judgement = judge(evaluator, *(candidate(f"ok:weights:{n}", i) for i, n in enumerate("abcd")))
    assert pilot.asked[1] == ("c", "d")
    assert judgement.selected.graph_hash == "d"
    assert "failed in training: r0.s0.0" in judgement.reason


def test_what_was_left_behind_is_not_selected_later() -> None:
    pilot = FakePilot({"a": 9, "b": 8, "c": 7, "d": 6, "e": 1})
    evaluator = measured(pilot, seeds=[1], steps=64, baseline=False)
    first = [candidate(f"ok:weights:{n}", i) for i, n in enumerate("abcd")]
    best = judge(evaluator, *first).selected
    later = judge(evaluator, candidate("ok:weights:e", 0, 1), incumbent=best)
    assert later.selected is best
    assert pilot.asked[-1] == ("e",), "one function alone is trained for all steps"


def test_an_interrupted_halving_goes_through_the_same_rungs() -> None:
    returns: dict[str, float | None] = {"a": 9, "b": 8, "c": 7, "d": 6}
    found = [candidate(f"ok:weights:{n}", i) for i, n in enumerate("abcd")]
    whole = FakePilot(returns)
    expected = judge(measured(whole, seeds=[1], steps=64), *found)
    known = {(n, 32): PilotScore(n, (v,), (v,), (), 32) for n, v in returns.items() if v}
    resumed = FakePilot(returns)
    again = judge(measured(resumed, seeds=[1], steps=64, known=known), *found)
    assert resumed.asked == [("vdn", "a", "b")]
    assert again.selected is expected.selected
