"""Replies without an answer: found before the sandbox looks into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.protocol import Completion, Message
from sandbox.extract import answer_of
from sandbox.report import MAX_REPORTED_SOURCE, CheckReport

if TYPE_CHECKING:
    from sandbox.config import GateMode


def without_answer(reply: Completion) -> str:
    """Why a reply holds no answer; empty if it may hold one.

    It came to nothing (``finish_reason`` is ``error``), or it consists of thoughts alone.
    """
    if reply.finish_reason == "error":
        return f"no whole reply came: {reply.note}"
    if not reply.text.strip() or answer_of(reply.text).strip():
        return ""
    if reply.finish_reason == "length":
        return (
            f"its thoughts took all of the {reply.completion_tokens:,} tokens that it may have, so "
            "that no answer came"
        )
    return "it holds thoughts only, and no answer after them"


def advice_to_user(reply: Completion) -> str:
    """Remark for the user on how a reply came; empty if there is none."""
    missing = without_answer(reply)
    if missing and reply.finish_reason == "length":
        missing += " (raise synth.max_tokens, or switch the model's thinking off)"
    if reply.finish_reason == "error":
        return missing
    return "; ".join(filter(None, [missing, reply.note]))


def refused(reply: Completion, why: str, gate: GateMode) -> CheckReport:
    """The report of a reply without an answer, in which the sandbox has nothing to look at."""
    came = reply.finish_reason != "error"
    feedback = f"There is no function to look at: {why}."
    if came:
        feedback = (
            f"There is no function in your reply: {why}. Think less, and end with the function: "
            "`def tfcaf(state):` or `def tfcaf(agent_qs, state):`."
        )
    return CheckReport(
        verdict="rejected",
        stage="policy",
        rule="reply.thoughts" if came else "reply.failed",
        feedback=feedback,
        source=reply.text[:MAX_REPORTED_SOURCE],
        code="",
        gate=gate,
    )


def said_by_model(text: str) -> Message:
    """A reply as a turn of the conversation that goes on. Servers refuse an empty one, and thoughts
    without an end would only fill the context."""
    return Message("assistant", text if answer_of(text).strip() else "(no answer)")
