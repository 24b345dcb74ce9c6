"""What a search is told by keys: answers to its proposals, pause, end, stop."""

from __future__ import annotations

from typing import Literal

from qllm.facts.candidates import CandidateFacts as CandidateRow
from qllm.facts.search import SearchFacts as SynthesisView
from qllm.store.commands import CommandName
from qllm.store.numbers import run_name
from qllm.tui.screens.asking import AnswerScreen, AskScreen
from qllm.tui.screens.live import LiveScreen

_OF_A_JOB = ("answer", "run", "pause", "go_on", "stop", "stop_after_round")
"""Actions that are offered as far as the search and its job allow them."""


class SteeringScreen(LiveScreen):
    """A search and its job, as far as commands to it go; they travel through the store."""

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self.run_id = run_id
        self.view: SynthesisView | None = None

    def candidate_under_cursor(self) -> CandidateRow | None:
        """The candidate that a person has chosen, if any."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
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

    def action_answer(self, answer: str) -> None:
        """Answer the proposal that waits."""
        view = self.view
        if view is None or view.waiting is None:
            return
        proposal = view.waiting
        chosen = proposed = view.candidate(proposal.candidate_id)
        own = self.candidate_under_cursor()
        if answer == "approve" and own is not None and own.round == proposal.round:
            chosen = own if own.verdict == "accepted" else proposed
        name = chosen.label if chosen else str(proposal.candidate_id)
        title, payload = name, dict[str, object]()
        if chosen is not None and proposed is not None and chosen.id != proposed.id:
            title = f"{name} instead of {proposed.label}"
            payload["candidate"] = chosen.id
        command: Literal["approve", "reject"] = "approve" if answer == "approve" else "reject"

        def answered(advice: str | None) -> None:
            if advice is not None:
                said = {**payload, **({"advice": advice} if advice else {})}
                self._send(command, said, f"{name}: {command} is sent")

        self.app.push_screen(
            AnswerScreen(command, title, proposal.reason, proposal.advice), answered
        )

    def action_pause(self) -> None:
        """Let the job wait."""
        self._send("pause", None, "asked to pause")

    def action_go_on(self) -> None:
        """Let a job that waits go on."""
        self._send("resume", None, "asked to go on")

    def action_stop_after_round(self) -> None:
        """Let this round end in its selection, and begin no other."""
        self._send("stop-after-round", None, "asked to stop after this round")

    def action_stop(self) -> None:
        """Stop the job, once that is confirmed."""
        searched = self.view is not None and self.view.head.searched
        what = (
            "Its search has ended, and this stops its trainings: they save checkpoints first;"
            if searched
            else "The round under way is not judged;"
        )
        name = run_name(self.run_id)
        question = f"Stop run {name}?\n\n{what} `qllm resume {name}` goes on from here."

        def answered(yes: bool | None) -> None:
            if yes:
                self._send("stop", None, "asked to stop")

        self.app.push_screen(AskScreen(question, "stop"), answered)

    def _send(self, name: CommandName, payload: dict[str, object] | None, said: str) -> None:
        self.run_worker(lambda: self._sending(name, payload, said), thread=True, group="commands")

    def _sending(self, name: CommandName, payload: dict[str, object] | None, said: str) -> None:
        """In a thread: a command is one row in the store."""
        from qllm.store.errors import StoreError
        from qllm.store.store import open_store

        try:
            with open_store(self.qllm.home) as store:
                store.commands.send(self.run_id, name, payload)
        except StoreError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        self.app.call_from_thread(self.notify, f"run {run_name(self.run_id)}: {said}", markup=False)
        self.qllm.refresh_now()
