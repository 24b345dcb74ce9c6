"""What the screens of searches and candidates read from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tui_store import CHECKED, IDS

from qllm.facts.candidates import CandidateView
from qllm.facts.search import SearchFacts
from qllm.store.errors import StoreError
from qllm.store.store import open_store
from qllm.store.synthesis import Turn
from qllm.tui.reading.playing import main
from qllm.tui.reading.search import CandidateQuery, SynthesisQuery


def search(home: Path, run_id: int, memory: dict[str, Any] | None = None) -> SearchFacts:
    with open_store(home, readonly=True) as store:
        return SynthesisQuery(run_id).read(store, {} if memory is None else memory)


def candidate(home: Path, candidate_id: int) -> CandidateView:
    with open_store(home, readonly=True) as store:
        return CandidateQuery(candidate_id).read(store, {})


def test_candidates_stand_by_round_slot_and_correction(home: Path) -> None:
    view = search(home, IDS.pipeline)
    assert [c.label for c in view.candidates] == ["1.1", "1.2", "1.2.1", "1.3", "2.1", "2.2", "2.3"]
    assert [c.verdict for c in view.candidates[-3:]] == ["rejected", "accepted", "duplicate"]
    assert view.best == IDS.accepted_candidate
    assert view.stages == {"accepted": 3, "duplicate": 1, "policy": 2, "properties": 1}


def test_scores_belong_to_functions_and_not_to_the_plain_sum(home: Path) -> None:
    view = search(home, IDS.pipeline)
    assert view.scores[IDS.accepted_candidate].value == 157.0
    assert IDS.refused_candidate not in view.scores
    assert {p.name for p in view.pilots if p.baseline} == {"vdn"}


def test_a_reply_that_is_being_written_is_told_with_its_place(home: Path) -> None:
    view = search(home, IDS.waiting)
    (writing,) = view.writing
    assert (writing.round, writing.slot, writing.repair) == (0, 1, 1)
    assert (writing.state, writing.characters) == ("writing", 120)


def test_nothing_is_being_written_once_the_search_has_ended(home: Path) -> None:
    assert search(home, IDS.pipeline).writing == ()


def test_a_proposal_waits_until_it_is_answered(home: Path) -> None:
    waiting = search(home, IDS.waiting).waiting
    assert waiting is not None
    assert waiting.advice == "Lean on agreement."
    assert waiting.reason.startswith("1.1 has"), "candidates are called as people count them"
    with open_store(home) as store:
        told = {"answer": "approve", "selected": "r0.s0.0", "advice": "go on"}
        store.synthesis.record_verdict(IDS.waiting, 1, "approval", "round-0-0", reason=told)
    view = search(home, IDS.waiting)
    assert view.waiting is None
    assert view.rounds[0].answers == ("approved by hand, with the advice: go on",)


def test_only_rows_that_changed_are_made_anew(home: Path) -> None:
    memory: dict[str, Any] = {}
    before = search(home, IDS.waiting, memory)
    with open_store(home) as store:
        grown = Turn("r0.s1", 4, "assistant", "more text", streaming=True)
        with store.database.write() as session:  # the clock stands still, so the row is dated
            from qllm.store.schema import ChatMessage

            row = session.query(ChatMessage).filter_by(
                run_id=IDS.waiting, conversation=grown.conversation, position=grown.position
            )
            row.update({"content": grown.content, "created": 1.0})
    after = search(home, IDS.waiting, memory)
    changed = [new for old, new in zip(before.turns, after.turns, strict=True) if old is not new]
    assert [t.content for t in changed] == ["more text"]
    assert all(a is b for a, b in zip(before.candidates, after.candidates, strict=True))


def test_a_command_that_was_sent_is_told(home: Path) -> None:
    with open_store(home) as store:
        store.commands.send(IDS.waiting, "stop-after-round")
    assert search(home, IDS.waiting).asked == ("stop-after-round",)


def test_what_an_older_attempt_left_behind_is_not_shown(home: Path) -> None:
    with open_store(home) as store:
        report = CHECKED["steady"]
        store.synthesis.record_candidate(IDS.pipeline, 2, (0, 1, 0), source="again", report=report)
    labels = [c.label for c in search(home, IDS.pipeline).candidates]
    assert "1.2" in labels
    assert "1.2.1" not in labels, "the new attempt has not corrected it"


def test_tokens_read_for_several_replies_at_once_count_once(home: Path) -> None:
    with open_store(home) as store:
        run = store.runs.create("synth", "matrix/climbing", config={}, command="", versions={})
        replies = [
            Turn(
                f"r0.s{slot}",
                2,
                "assistant",
                "",
                model="m",
                prompt_tokens=100,
                completion_tokens=10,
                request={"key": "one"},
            )
            for slot in range(3)
        ]
        store.synthesis.record_turns(run, 1, replies)
    assert search(home, run).tokens == 130


def test_a_refused_candidate_has_its_counterexample(home: Path) -> None:
    view = candidate(home, IDS.refused_candidate)
    failed = [p for p in view.row.check.properties if p.status == "fail"]
    assert any("last_action" in (p.counterexample or "") for p in failed)
    assert view.train == ()


def test_an_accepted_candidate_says_how_to_train_with_it(home: Path) -> None:
    view = candidate(home, IDS.accepted_candidate)
    assert view.train == ("train", "matrix/climbing", "--algo", "qllm", "--tfcaf", "1")
    assert view.selected
    assert view.pilot is not None
    assert view.pilot.final == 157.0


def test_a_candidate_that_is_not_there_is_an_error_in_a_line(home: Path) -> None:
    with pytest.raises(StoreError, match="no candidate 999"):
        candidate(home, 999)


def test_an_episode_is_not_played_under_what_was_refused(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(IDS.refused_candidate), "--home", str(home)]) == 0
    assert "rejected this candidate" in capfd.readouterr().out.splitlines()[-1]
