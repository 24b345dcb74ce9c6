"""Keys that control a job and its search; commands travel through the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from qllm.facts.candidates import CandidateFacts
from qllm.facts.search import SearchFacts
from qllm.store.numbers import run_name
from qllm.tui.screens.questions import AnswerScreen
from qllm.tui.screens.reporting import ReportingScreen

_OF_A_JOB = ("answer", "run", "pause", "go_on", "stop", "stop_after_round")
"""Actions that are offered as far as the search and its job allow them."""


class JobScreen(ReportingScreen):
    """A run and its job."""

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self.run_id = run_id

    @property
    def report_words(self) -> Sequence[str]:
        return [str(self.run_id)]

    def action_pause(self) -> None:
        self.qllm.ask_jobs([self.run_id], "pause")

    def action_go_on(self) -> None:
        self.qllm.ask_jobs([self.run_id], "resume")


class SteeringScreen(JobScreen):
    """A search and its job."""

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self.view: SearchFacts | None = None

    def candidate_under_cursor(self) -> CandidateFacts | None:
        """The candidate that a person has chosen, if any."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        view = self.view
        if view is None:
            return action not in _OF_A_JOB
        head = view.head
        return {
            "answer": view.waiting is not None,
            "run": head.kind != "synth",
            "pause": head.status == "running",
            "go_on": head.status == "paused",
            "stop": head.active and "stop" not in view.asked,
            "stop_after_round": head.searching
            and not view.asked
            and len(view.rounds) < head.rounds,
        }.get(action, True)

    def action_answer(self, answer: Literal["approve", "reject"]) -> None:
        view = self.view
        if view is None or view.waiting is None:
            return
        proposal = view.waiting
        chosen = proposed = view.candidate(proposal.candidate_id)
        own = self.candidate_under_cursor()
        if answer == "approve" and own is not None and own.round == proposal.round:
            chosen = own if own.verdict == "accepted" else proposed
        title = chosen.label if chosen else str(proposal.candidate_id)
        payload = dict[str, object]()
        if chosen is not None and proposed is not None and chosen.id != proposed.id:
            title = f"{title} instead of {proposed.label}"
            payload["candidate"] = chosen.id

        def answered(advice: str | None) -> None:
            if advice is not None:
                said = {**payload, **({"advice": advice} if advice else {})}
                self.qllm.ask_jobs([self.run_id], answer, said)

        self.app.push_screen(
            AnswerScreen(answer, title, proposal.reason, proposal.advice), answered
        )

    def action_stop_after_round(self) -> None:
        self.qllm.ask_jobs([self.run_id], "stop-after-round")

    def action_stop(self) -> None:
        if self.view is None:
            return
        lost = "The round under way is not judged"
        if self.view.head.searched:
            lost = "Its search has ended, and this stops its trainings: they save checkpoints first"
        more = f"{lost}; `qllm resume {run_name(self.run_id)}` goes on from here."
        self.qllm.ask_to_stop([(self.run_id, self.view.head.status)], more=more)
