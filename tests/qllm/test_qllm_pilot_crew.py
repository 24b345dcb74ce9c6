"""Pilots in processes of their own: the same scores, kept in order, and one that dies alone."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompts.cards import load_card
from qllm.config.build import build_config
from qllm.display import make_display
from qllm.errors import WorkError
from qllm.jobs import child_process
from qllm.jobs.crew import Listener
from qllm.jobs.job_control import JobControl
from qllm.jobs.pilot import TrainingPilot, pilot_plan
from qllm.jobs.pilot_crew import PilotCrew
from qllm.jobs.session import Session
from qllm.store.store import open_store
from sandbox.checker import Sandbox
from synth.control import Interrupted
from synth.pilot import BASELINE_KEY, PilotRequest, PilotScore

pytestmark = pytest.mark.long

SEEDS = (1_000_000, 1_000_001)
SUM = "def tfcaf(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n"
LEAST = "def tfcaf(agent_qs, state):\n    return agent_qs.amin(1, keepdim=True)\n"


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with open_store(tmp_path) as store:
        yield Session(store, make_display("none"), JobControl(store), "qllm synth")


@pytest.fixture
def requests(warm_sandbox: Sandbox) -> list[PilotRequest]:
    card = load_card("matrix/climbing")
    graphs = [warm_sandbox.check(source, card).graph for source in (SUM, LEAST)]
    assert None not in graphs
    named = [PilotRequest(f"r1c{i}", graph) for i, graph in enumerate(graphs)]
    return [PilotRequest(BASELINE_KEY, None), *named]


def _pilot(
    session: Session, parallel: int, kept: list[PilotScore], steps: int = 600
) -> tuple[TrainingPilot, int]:
    config = build_config(
        flags={"task": "matrix/climbing"},
        overrides=[f"parallel={parallel}", f"synth.pilot_steps={steps}"],
        algorithm="qllm",
    )
    card = load_card("matrix/climbing")
    plan = pilot_plan(config, card)
    pilot = TrainingPilot(
        session, card, config, plan, lambda _, s: kept.append(s), logs=session.store.home
    )
    return pilot, plan.steps


def test_several_at_once_give_the_scores_of_one_after_another(
    session: Session, requests: list[PilotRequest]
) -> None:
    found = []
    for parallel in (1, 3):
        kept: list[PilotScore] = []
        pilot, steps = _pilot(session, parallel, kept)
        pilot.begin(requests[1:2], SEEDS, steps)  # ahead, which changes nothing
        scores = pilot(requests, SEEDS, steps)
        pilot.close()
        assert kept == scores
        found.append(scores)
    assert found[0] == found[1]
    assert [s.key for s in found[0]] == [BASELINE_KEY, "r1c0", "r1c1"]
    assert all(len(s.finals) == 2 and not s.error for s in found[0])


def test_a_process_that_dies_takes_its_own_training_only(
    session: Session, requests: list[PilotRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    collect = PilotCrew.collect

    def watched(self: PilotCrew, places: Any, to: Listener) -> bool:
        def kill(place: int, env_steps: int) -> None:
            to.moved(place, env_steps)
            if place == 2 and not killed:
                killed.append(children()[-1])
                os.kill(killed[0], signal.SIGKILL)

        return collect(self, places, replace(to, moved=kill))

    def children() -> list[int]:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return [p for p in map(int, listed.split()) if b"pilot_crew" in _words(p)]

    monkeypatch.setattr(PilotCrew, "collect", watched)
    kept: list[PilotScore] = []
    pilot, steps = _pilot(session, 2, kept, steps=3000)
    scores = pilot(requests, SEEDS, steps)
    failed = [s for s in scores if s.error]
    assert len(killed) == len(failed) == 1
    assert "was killed" in failed[0].error
    pilot.close()
    assert not children()


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_stop_ends_the_processes_and_the_search(
    session: Session, requests: list[PilotRequest]
) -> None:
    kept: list[PilotScore] = []
    pilot, steps = _pilot(session, 2, kept, steps=1_000_000)
    session.control.told = "stop"
    with pytest.raises(Interrupted):
        pilot(requests, SEEDS, steps)
    assert kept == []


def test_a_process_that_cannot_be_started_is_one_clear_line(
    session: Session, requests: list[PilotRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child_process.subprocess, "Popen", full)
    pilot, steps = _pilot(session, 2, [])
    with pytest.raises(WorkError, match="no process can be started for a pilot"):
        pilot(requests, SEEDS, steps)
