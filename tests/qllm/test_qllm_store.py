"""The run store: rows, attempts, superseded rows, processes."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qllm.store.errors import StoreError, UnknownRunError
from qllm.store.process import ProcessIdentity, boot_id, is_alive, start_time, this_process
from qllm.store.runs import RunBusyError, derived_status
from qllm.store.schema import Run
from qllm.store.store import Store, open_store
from qllm.store.streaming import StreamedReply
from qllm.store.synthesis import Turn
from qllm.store.training import MetricPoint


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def _train(store: Store, **more: object) -> int:
    return store.runs.create(
        "train",
        "matrix/climbing",
        config={"steps": 10},
        command="qllm train",
        versions={"qllm": "0"},
        **more,  # type: ignore[arg-type]
    )


def test_a_run_goes_from_queued_to_finished_and_keeps_what_it_was_given(store: Store) -> None:
    run_id = _train(store, algo="vdn", seed=3, total_steps=10, inputs={"certificate": "x"})
    assert store.runs.get(run_id).status == "queued"
    assert store.runs.begin(run_id) == 1
    store.runs.progress(run_id, env_steps=5, env_steps_per_s=2.5)
    store.runs.finish(run_id, "finished", result={"rows": [1]})
    run = store.runs.get(run_id)
    assert (run.status, run.env_steps, run.env_steps_per_s) == ("finished", 5, 2.5)
    assert (run.config, run.inputs, run.result) == (
        {"steps": 10},
        {"certificate": "x"},
        {"rows": [1]},
    )
    assert run.started is not None
    assert run.ended is not None


def test_children_and_listing(store: Store) -> None:
    parent = store.runs.create("compare", "t", config={}, command="c", versions={})
    first, second = _train(store, parent_id=parent), _train(store, parent_id=parent)
    assert [r.id for r in store.runs.children(parent)] == [first, second]
    assert [r.id for r in store.runs.listed()] == [second, first, parent]
    assert [r.id for r in store.runs.listed(top_level=True)] == [parent]


def test_a_total_is_what_all_children_have_done_and_those_that_run_do_per_second(
    store: Store,
) -> None:
    parent = store.runs.create("compare", "t", config={}, command="c", versions={})
    first, second, third = (_train(store, parent_id=parent) for _ in range(3))
    for child in (first, second):
        store.runs.begin(child)
    store.runs.progress(first, env_steps=5, env_steps_per_s=2.0)
    store.runs.progress(second, env_steps=7, env_steps_per_s=3.0)
    store.runs.add_up(parent)
    run = store.runs.get(parent)
    assert (run.env_steps, run.env_steps_per_s) == (12, 5.0)
    store.runs.finish(first, "finished")
    store.runs.add_up(parent)
    assert store.runs.get(parent).env_steps_per_s == 3.0
    store.runs.finish(second, "finished")
    store.runs.begin(third, resumed_at=-1)  # from the very beginning, without a checkpoint
    store.runs.add_up(parent)
    run = store.runs.get(parent)
    assert (run.env_steps, run.env_steps_per_s) == (12, 3.0)


def test_an_unknown_run_says_which_is_the_newest(store: Store) -> None:
    with pytest.raises(UnknownRunError, match="there are no runs yet"):
        store.runs.get(7)
    run_id = _train(store)
    with pytest.raises(UnknownRunError, match=f"the newest run is {run_id}"):
        store.runs.get(99)


def test_a_resumed_run_supersedes_what_came_after_its_checkpoint(store: Store) -> None:
    run_id = _train(store)

    def write(attempt: int, steps: range) -> None:
        store.training.record_metrics(
            run_id, attempt, [MetricPoint(k, 0.0, "loss", 100 * attempt + k) for k in steps]
        )
        for k in steps:
            store.training.record_evaluation(run_id, attempt, k, 0.0, [100.0 * attempt + k])

    write(store.runs.begin(run_id), range(1, 9))
    write(store.runs.begin(run_id, resumed_at=5), range(6, 8))  # died at 7
    write(store.runs.begin(run_id, resumed_at=3), range(4, 5))  # an older checkpoint was intact
    expected = [101, 102, 103, 304]
    assert [p.value for p in store.training.metrics(run_id, "loss")] == expected
    assert [p.returns for p in store.training.evaluations(run_id)] == [(v,) for v in expected]
    assert [a.resumed_at for a in store.runs.attempts(run_id)] == [0, 5, 3]


def test_a_resumed_run_keeps_rows_up_to_and_including_the_checkpoint(store: Store) -> None:
    run_id = _train(store)
    store.training.record_metrics(
        run_id, store.runs.begin(run_id), [MetricPoint(k, 0, "a", k) for k in (5, 6)]
    )
    attempt = store.runs.begin(run_id, resumed_at=5)
    store.training.record_metrics(run_id, attempt, [MetricPoint(6, 0, "a", 60)])
    assert [p.value for p in store.training.metrics(run_id, "a")] == [5, 60]


def test_tails_read_only_what_is_new(store: Store) -> None:
    run_id = _train(store)
    attempt = store.runs.begin(run_id)
    store.training.record_metrics(run_id, attempt, [MetricPoint(1, 0.1, "b", 1.0)])
    first = store.training.metrics(run_id, "b")
    store.training.record_metrics(run_id, attempt, [MetricPoint(2, 0.2, "b", math.nan)])
    (new,) = store.training.metrics(run_id, "b", after_id=first[-1].id)
    assert (new.env_steps, new.value) == (2, None)
    assert store.training.metric_names(run_id) == ["b"]


def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    run_id = _train(store)
    bad = MetricPoint(2, 0.0, None, 1.0)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.training.record_metrics(run_id, 1, [MetricPoint(1, 0.0, "c", 1.0), bad])
    assert store.training.metrics(run_id, "c") == []


def test_a_candidate_keeps_its_id_when_a_resumed_synthesis_reaches_it_again(store: Store) -> None:
    run_id = store.runs.create("synth", "t", config={}, command="c", versions={})
    report = {"stage": "policy", "verdict": "rejected", "rule": "policy.while", "graph_hash": None}

    def record(attempt: int, repair: int) -> int:
        return store.synthesis.record_candidate(
            run_id, attempt, (1, 0, repair), source=f"v{attempt}", report=report
        )

    first, repaired = record(1, 0), record(1, 1)
    assert record(2, 0) == first
    assert store.synthesis.candidate(first).source == "v2"
    kept = [c.id for c in store.synthesis.candidates(run_id)]
    assert kept == [first], "the second attempt took another turn: the old repair is superseded"
    assert repaired != first


def test_what_a_model_wrote_survives_lone_surrogates_and_nul(store: Store) -> None:
    run_id = store.runs.create("synth", "t", config={}, command="c", versions={})
    store.synthesis.record_turns(run_id, 1, [Turn("a", 0, "assistant", "x\ud800y\0z")])
    (message,) = store.synthesis.messages(run_id)
    assert message.content == "x\\ud800y\u2400z"


def test_a_streamed_reply_is_flushed_at_most_five_times_a_second(store: Store) -> None:
    run_id = store.runs.create("synth", "t", config={}, command="c", versions={})
    now, writes = 0.0, 0
    record = store.synthesis.record_turns

    def counting(*args: object) -> list[int]:
        nonlocal writes
        writes += 1
        return record(*args)  # type: ignore[arg-type]

    store.synthesis.record_turns = counting  # type: ignore[method-assign,assignment]
    reply = StreamedReply(store.synthesis, run_id, 1, Turn("c", 1, "assistant", ""), lambda: now)
    for i in range(200):
        now = i / 100  # two seconds of text
        reply.append("x")
    assert 9 <= writes <= 11
    (message,) = store.synthesis.messages(run_id)
    assert message.streaming
    assert set(message.content) == {"x"}


def test_verdicts_of_a_kind_and_key_are_replaced(store: Store) -> None:
    run_id = store.runs.create("synth", "t", config={}, command="c", versions={})
    for attempt, score in ((1, 1.0), (2, 2.0)):
        store.synthesis.record_verdict(
            run_id, attempt, "pilot", "h", reason={"worst": float("-inf")}, score=score
        )
    (verdict,) = store.synthesis.verdicts(run_id, "pilot")
    assert (verdict.score, verdict.reason) == (2.0, {"worst": None})


def test_commands_wait_until_they_are_acknowledged(store: Store) -> None:
    run_id = _train(store)
    command = store.commands.send(run_id, "stop", {"why": "test"})
    assert [c.name for c in store.commands.pending([run_id, 12345])] == ["stop"]
    assert not store.commands.acknowledged(command)
    store.commands.acknowledge([command])
    assert store.commands.pending([run_id]) == []
    assert store.commands.acknowledged(command)


def test_two_writers_never_lose_a_row(store: Store) -> None:
    run_id = _train(store)

    def work(name: str) -> None:
        with open_store(store.home) as mine:
            for k in range(40):
                mine.training.record_metrics(run_id, 1, [MetricPoint(k, 0.0, name, k)])

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.training.metrics(run_id, name)) for name in "xyz"] == [40, 40, 40]


def test_a_run_that_a_living_process_works_on_is_not_started_again(store: Store) -> None:
    run_id = _train(store)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        store.runs.begin(run_id)
        with store.database.write() as session:
            run = session.get(Run, run_id)
            assert run is not None
            run.pid, run.process_started = child.pid, start_time(child.pid)
        assert derived_status(store.runs.get(run_id)) == "running"
        with pytest.raises(RunBusyError, match=f"qllm stop {run_id}"):
            store.runs.begin(run_id)
    finally:
        child.kill()
        child.wait()
    assert derived_status(store.runs.get(run_id)) == "died"
    assert store.runs.begin(run_id) == 2


def test_a_process_is_recognised_by_boot_pid_and_start_time() -> None:
    me = this_process()
    assert is_alive(me, 0.0, 1e9)
    assert not is_alive(ProcessIdentity(me.host, me.boot_id, me.pid, me.started + 5), 0.0, 0.0)
    assert not is_alive(ProcessIdentity(me.host, "another boot", me.pid, me.started), 0.0, 0.0)
    assert not is_alive(ProcessIdentity(me.host, boot_id(), 2**22 + 1, 1.0), 0.0, 0.0)


def test_a_process_on_another_host_is_judged_by_its_beat() -> None:
    there = ProcessIdentity("elsewhere.invalid", "b", 1, 0.0)
    assert is_alive(there, 1000.0, 1030.0)
    assert not is_alive(there, 1000.0, 2000.0)


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = None
    for _ in range(1000):
        started = start_time(child.pid)
        if started is None:
            break
        threading.Event().wait(0.01)
    assert started is None
    child.wait()
