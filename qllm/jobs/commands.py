"""Commands to a running job: stop it, or answer its proposal."""

from __future__ import annotations

import time
from typing import Literal

from qllm.errors import UsageError
from qllm.store.runs import derived_status
from qllm.store.states import ACTIVE
from qllm.store.store import Store

StopAnswer = Literal["stopped", "asked", "ended", "died", "queued"]


def stop(store: Store, run_id: int, *, wait_s: float = 10.0) -> tuple[StopAnswer, str]:
    """Ask a running job to stop, and wait a moment for its answer.

    Returns:
        What came of it, in a word and in a line. ``asked``: the job has not ended yet.

    Raises:
        UnknownRunError: there is no such run.
    """
    run = store.runs.get(run_id)
    status = derived_status(run)
    if status == "died":
        return "died", (
            f"run {run.name} died (process {run.pid} on {run.host} is gone):"
            f" `qllm resume {run.name}` goes on from its last checkpoint"
        )
    if status == "queued" and (run.parent_id is None or not _alive(store, run.parent_id)):
        return "queued", f"run {run.name} has not started; nothing to stop"
    if status not in (*ACTIVE, "queued"):
        return "ended", f"run {run.name} has ended already ({status})"
    command = store.commands.send(run_id, "stop")
    seen = False
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        seen = seen or store.commands.acknowledged(command)
        now = derived_status(store.runs.get(run_id))
        if now not in ACTIVE and now != "queued":
            return "stopped", f"run {run.name} is {now}: `qllm resume {run.name}` goes on"
        time.sleep(0.1)
    answer = "is stopping" if seen else "has not answered yet"
    return (
        "asked",
        f"run {run.name} was asked to stop and {answer}: `qllm runs {run.name}` shows it",
    )


def answer_proposal(
    store: Store,
    run_id: int,
    answer: Literal["approve", "reject"],
    candidate: int | None,
    advice: str | None,
) -> str:
    """Answer a synthesis that waits for a person; returns what was done, in a line.

    Raises:
        UnknownRunError: there is no such run.
        UsageError: it does not wait for an answer, or the candidate is none of its round's.
    """
    run = store.runs.get(run_id)
    status = derived_status(run)
    if status not in ACTIVE:
        next_ = "" if status == "finished" else f"; `qllm resume {run_id}` goes on with it"
        raise UsageError(
            f"run {run_id} is {status}: only a running synthesis can be answered{next_}"
        )
    answered = {v.key for v in store.synthesis.verdicts(run_id, "approval")}
    open_ = [v for v in store.synthesis.verdicts(run_id, "proposal") if v.key not in answered]
    if not open_:
        raise UsageError(
            f"run {run_id} does not wait for an answer (it does with synth.approve=human, when a"
            " round is judged)"
        )
    if candidate is not None:
        round_ = open_[-1].reason.get("round", -1)
        rows = store.synthesis.candidates(run_id)
        fit = [
            c.id
            for c in rows
            if c.round == round_ and c.verdict == "accepted" and c.duplicate_of is None
        ]
        if candidate not in fit:
            listed = ", ".join(map(str, fit)) or "none"
            raise UsageError(
                f"candidate {candidate} cannot be selected in round {round_ + 1} of run {run_id}:"
                f" choose among {listed}"
            )
    payload = {"candidate": candidate, "advice": advice}
    store.commands.send(run_id, answer, {k: v for k, v in payload.items() if v is not None})
    chosen = candidate if candidate is not None else open_[-1].candidate_id
    return (
        f"run {run_id}: candidate {chosen} is {'approved' if answer == 'approve' else 'rejected'}"
    )


def _alive(store: Store, run_id: int) -> bool:
    return derived_status(store.runs.get(run_id)) in ACTIVE
