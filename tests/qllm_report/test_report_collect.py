"""From a real run store to a report, at every stage that a run can be in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from marl.statistics import summarise
from models.protocol import Completion, Message
from qllm.display import make_display
from qllm.jobs.search_recorder import SynthesisRecorder
from qllm.report.collect import collect, given_credit
from qllm.report.render import render
from qllm.report.summary import gate_words
from qllm.store.store import Store, open_store
from sandbox.claims import PropertyResult
from sandbox.report import CheckReport
from synth import events
from synth.candidates import Candidate
from synth.pilot import PilotRequest, PilotScore

CONFIG = {
    "task": "matrix/climbing",
    "seeds": [0, 1],
    "gate": {"mode": "enforce", "function": "abs", "scale_by_agents": False},
    "synth": {"coder": "auto"},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs", url=f"sqlite:///{tmp_path / 'runs' / 'qllm.db'}") as store:
        yield store


def create(store: Store, kind: str = "run", **more: object) -> int:
    return store.runs.create(
        kind,  # type: ignore[arg-type]
        "matrix/climbing",
        config=more.pop("config", CONFIG),  # type: ignore[arg-type]
        command="qllm run matrix/climbing",
        versions={"torch": "2.13.0"},
        **more,  # type: ignore[arg-type]
    )


def check(accepted: bool, source: str, graph_hash: str | None = None) -> CheckReport:
    monotone = PropertyResult(
        "monotone", "pass" if accepted else "fail", 100, None if accepted else "at 3"
    )
    return CheckReport(
        verdict="accepted" if accepted else "rejected",
        stage="done" if accepted else "properties",
        rule=None if accepted else "properties.monotone",
        feedback="" if accepted else "q_tot falls at 3",
        source=source,
        code=source,
        gate="enforce (abs)",
        signature="weights",
        igm="by-gate" if accepted else "violated",
        finite="proved",
        properties=(monotone,),
        graph_hash=graph_hash,
        weight_bounds=((0.5, 1.5), (float("-inf"), 2.0)),
        layers={"seccomp": "live"},
    )


def synthesise(store: Store, run_id: int, attempt: int) -> SynthesisRecorder:
    """A round with two candidates, of which the first is selected after a pilot."""
    record = SynthesisRecorder(store, run_id, attempt, make_display("none", json=True))
    record(events.RoundStarted(0, 1, 2))
    record(
        events.Prompted(
            "coder",
            0,
            None,
            0,
            "r0",
            "key",
            2,
            7,
            (Message("system", "be brief"), Message("user", "go")),
            0,
        )
    )
    for slot in range(2):
        reply = Completion(f"def tfcaf(state): pass  # {slot}", "sampler", 7, 12, 5, 0.01)
        record(events.Replied("coder", 0, slot, 0, f"r0.s{slot}", 2, "key", slot, 2, reply))
    record(events.CandidateChecked(Candidate(0, 0, 0, "source A", check(True, "A", "ab"))))
    record(events.CandidateChecked(Candidate(0, 1, 0, "source B", check(False, "B"))))
    record(events.PilotStarted(0, ("vdn", "r0.s0.0"), (1_000_000,), 500))
    record.keep_score(
        PilotRequest("vdn", None), PilotScore("vdn", (10.0,), (11.0,), ((500, 11.0),), 500)
    )
    record.keep_score(
        PilotRequest("r0.s0.0", SimpleNamespace(graph_hash="ab")),  # type: ignore[arg-type]
        PilotScore("1.1", (20.0,), (21.0,), ((500, 21.0),), 500),
    )
    record(
        events.RoundFinished(
            0, 1, 1, 0, "r0.s0.0", "r0.s0.0 has the highest final return", "", "lean on agreement"
        )
    )
    return record


def train(
    store: Store,
    parent: int,
    algo: str,
    seed: int,
    curve: Sequence[tuple[int, Sequence[float]]],
    *,
    finish: bool = True,
    pilot_steps: int | None = None,
) -> int:
    inputs = {} if pilot_steps is None else {"pilot_steps": pilot_steps}
    run_id = create(store, "train", parent_id=parent, algo=algo, seed=seed, inputs=inputs)
    attempt = store.runs.begin(run_id)
    for env_steps, returns in curve:
        store.training.record_evaluation(run_id, attempt, env_steps, 1.0, returns)
        store.runs.progress(run_id, env_steps=env_steps, env_steps_per_s=500.0)
    if finish:
        result = {"wall_s": 2.0, "env_steps_per_s": 500.0, "learnable_parameters": 42}
        store.runs.finish(run_id, "finished", result=result)
    return run_id


def test_a_whole_run_is_collected(store: Store) -> None:
    run_id = create(store)
    synthesise(store, run_id, store.runs.begin(run_id))
    for algo, level, pilots in (("vdn", 0.0, None), ("qllm", 100.0, 1_000)):
        for seed in (0, 1):
            curve = [(0, (level, level)), (100, (level + seed, level + seed + 2))]
            train(store, run_id, algo, seed, curve, pilot_steps=pilots)
    store.runs.finish(run_id, "finished")
    report = collect(store, run_id)
    synthesis = report.synthesis
    assert synthesis is not None
    assert [c.label for c in synthesis.candidates] == ["1.1", "1.2"]
    assert synthesis.chosen is not None
    assert (synthesis.chosen.label, synthesis.pilot_mean(synthesis.chosen)) == ("1.1", 20.0)
    assert synthesis.rounds[0].reason == "1.1 has the highest final return"
    assert synthesis.rounds[0].advice == "lean on agreement"
    assert [(r.pilot.name, r.pilot.final, r.selected) for r in synthesis.pilot_rows] == [
        ("1.1", 20.0, True),
        ("vdn", 10.0, False),
    ]
    assert sum(r.env_steps for r in synthesis.pilot_rows) == 1_000
    assert synthesis.pilot_seeds == (1_000_000,)
    assert (synthesis.head.coder, synthesis.head.is_llm) == ("sampler", False)
    assert gate_words(synthesis) == "enforce (abs)"
    assert [title for title, _ in synthesis.conversations] == [
        "Round 1, the opening request",
        "Round 1, candidate 1",
        "Round 1, candidate 2",
    ]
    assert synthesis.candidates[-1].check.layers == {"seccomp": "live"}
    assert [(r.algo, r.seed, r.pilot_steps) for r in report.rows] == [
        ("vdn", 0, 0),
        ("vdn", 1, 0),
        ("vdn", None, 0),
        ("qllm", 0, 1_000),
        ("qllm", 1, 1_000),
        ("qllm", None, 1_000),
    ]
    expected = summarise(
        [
            [(0, (100.0, 100.0)), (100, (100.0, 102.0))],
            [(0, (100.0, 100.0)), (100, (101.0, 103.0))],
        ]
    )
    total = report.rows[-1]
    assert (total.return_iqm, total.return_ci) == (expected.return_iqm, expected.return_ci)
    vdn, qllm = report.curves
    assert qllm.steps == (0, 100)
    assert qllm.centre == (100.0, 101.5)
    assert qllm.seeds == (0, 1)
    assert qllm.low is not None
    assert qllm.high is not None
    assert qllm.low[1] <= 101.5 <= qllm.high[1]
    assert vdn.centre[-1] == 1.5
    assert report.task is not None
    html = render(report)
    assert "0 to 2, or -1" in html
    assert "be brief" in html
    assert "agent 1: at most 2" in html


def test_a_queued_run_is_collected(store: Store) -> None:
    report = collect(store, create(store))
    assert (report.run.status, report.rows, report.curves) == ("queued", (), ())
    assert "had not started" in render(report)


def test_a_run_killed_in_its_first_round_is_collected(store: Store) -> None:
    run_id = create(store)
    record = SynthesisRecorder(
        store, run_id, store.runs.begin(run_id), make_display("none", json=True)
    )
    record(events.RoundStarted(0, 2, 2))
    record(events.CandidateChecked(Candidate(0, 0, 0, "s", check(False, "A"))))
    report = collect(store, run_id)
    assert report.synthesis is not None
    assert report.synthesis.chosen is None
    assert "This round has not been finished." in render(report)


def test_a_failed_run_says_why(store: Store) -> None:
    run_id = create(store)
    store.runs.begin(run_id)
    store.runs.finish(run_id, "failed", error="the coder cannot answer")
    assert "The run failed: the coder cannot answer." in render(collect(store, run_id))


def test_a_comparison_has_no_synthesis(store: Store) -> None:
    run_id = create(store, "compare")
    train(store, run_id, "vdn", 0, [(0, (1.0,)), (50, (2.0,))])
    report = collect(store, run_id)
    assert report.synthesis is None
    assert report.curves[0].low is None
    assert "One seed has no interval" in report.curve_words


def test_unfinished_seeds_have_rows_but_no_say_where_others_have_finished(store: Store) -> None:
    run_id = create(store, "train")
    train(store, run_id, "vdn", 0, [(0, (1.0,)), (50, (2.0,))])
    train(store, run_id, "vdn", 1, [(0, (9.0,))], finish=False)
    report = collect(store, run_id)
    assert [r.seed for r in report.rows] == [0, 1, None]
    assert report.rows[1].status == "running"
    assert report.curves[0].seeds == (0,)
    assert report.curves[0].steps == (0, 50)


def test_curves_of_seeds_that_are_all_unfinished_end_with_the_shortest(store: Store) -> None:
    run_id = create(store, "train")
    train(store, run_id, "vdn", 0, [(0, (1.0,)), (50, (2.0,))], finish=False)
    train(store, run_id, "vdn", 1, [(0, (9.0,))], finish=False)
    report = collect(store, run_id)
    assert report.curves[0].steps == (0,)
    assert "end where the shortest" in report.curve_words


def test_one_training_of_several_has_a_report_of_its_own(store: Store) -> None:
    run_id = create(store, "compare")
    train(store, run_id, "vdn", 0, [(0, (1.0,))])
    child = train(store, run_id, "vdn", 1, [(0, (4.0, 4.0))])
    report = collect(store, child)
    assert [(r.algo, r.seed, r.return_mean, r.return_iqm) for r in report.rows] == [
        ("vdn", 1, 4.0, None)
    ]
    assert report.curves[0].seeds == (1,)
    assert report.seeds == (1,)


def test_superseded_evaluations_are_left_out(store: Store) -> None:
    run_id = create(store, "train")
    child = train(store, run_id, "vdn", 0, [(0, (1.0,)), (50, (999.0,))], finish=False)
    attempt = store.runs.begin(child, resumed_at=0)
    store.training.record_evaluation(child, attempt, 50, 1.0, (2.0,))
    assert collect(store, run_id).curves[0].centre == (1.0, 2.0)


def test_a_card_that_is_gone_leaves_the_rest_of_the_report(store: Store, tmp_path: Path) -> None:
    config = {**CONFIG, "task": str(tmp_path / "gone.yaml")}
    run_id = store.runs.create("train", "gone", config=config, command="", versions={})
    report = collect(store, run_id)
    assert report.task is None
    assert "gone" in render(report)


def test_a_training_shows_the_function_it_was_given(store: Store) -> None:
    inputs = {
        "tfcaf": "credit.tfcaf.json",
        "name": "mine.py",
        "graph_hash": "ab",
        "pilot_steps": None,
    }
    run_id = create(store, "train", inputs=inputs)
    report = collect(store, run_id)
    assert report.credit is not None
    assert (report.credit.name, report.credit.graph_hash, report.credit.code) == (
        "mine.py",
        "ab",
        None,
    )
    folder = store.make_run_dir(run_id)
    os.mkfifo(folder / "credit.tfcaf.json")
    shown = given_credit(store, store.runs.family(run_id))
    assert shown is not None
    assert shown.code is None, "what is no file is not waited for"
    (folder / "credit.tfcaf.json").unlink()
    (folder / "credit.tfcaf.json").write_text('{"source": "def tfcaf(state): ..."}')
    html = render(collect(store, run_id))
    assert "mine.py" in html
    assert ">tfcaf</span>" in html


def test_what_was_given_to_start_from_is_not_counted_as_written(store: Store) -> None:
    run_id = create(store, inputs={"start": ["source B"]}, config={"synth": {"candidates": 1}})
    synthesise(store, run_id, store.runs.begin(run_id))
    synthesis = collect(store, run_id).synthesis
    assert synthesis is not None
    assert [(c.label, synthesis.was_given(c)) for c in synthesis.candidates] == [
        ("1.1", False),
        ("1.2", True),
    ]


@pytest.mark.parametrize("finish", [True, False])
def test_the_app_draws_the_curves_of_the_report(store: Store, finish: bool) -> None:
    """Finished seeds where there are any, else all of them; to the end of the shortest."""
    from qllm.tui.reading.run import RunQuery

    run_id = create(store, "compare")
    first = [(0, (1.0,)), (50, (2.0, 6.0)), (100, (5.0,))]
    train(store, run_id, "vdn", 0, first, finish=finish)
    train(store, run_id, "vdn", 1, [(0, (9.0,)), (60, (8.0,))], finish=False)
    (curve,) = collect(store, run_id).curves
    assert curve.steps == ((0, 50, 100) if finish else (0, 55))
    (drawn,) = RunQuery(run_id).read(store, {}).curves
    assert (drawn.steps, drawn.centre) == (curve.steps, curve.centre)
    assert drawn.seeds == len(curve.seeds)
    if not finish:
        assert (drawn.low, drawn.high) == (curve.low, curve.high)
