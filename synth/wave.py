"""One wave of a round: its requests go out together, and replies are checked as they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from models.protocol import Completion
from synth.control import ControlPoll
from synth.replies import refused, without_answer
from synth.requests import RequestSender, SearchRequest, Stopwatch

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from sandbox.report import CheckReport

_POLL_S = 0.05

OnChecked = Callable[[int, Completion, "CheckReport"], None]
"""Called with (slot, reply, report), always in the order of the slots."""


def run_wave(
    requests: Sequence[SearchRequest],
    sender: RequestSender,
    check: Callable[[str], CheckReport],
    gate: GateMode,
    pool: ThreadPoolExecutor,
    control_poll: ControlPoll,
    clock: Stopwatch,
    *,
    on_reply: Callable[[Completion, int], None],
    on_checked: OnChecked,
) -> None:
    """Return when every reply of every request is checked and told.

    Replies are checked in whatever order they arrive, while others are still being written. They
    are told in the order of the slots, so nothing that follows depends on who was first.

    A correction that fits the model's context in no way is left out; an opening that does not is an
    error.

    Args:
        requests: Each with its slot, or a single one whose replies have a slot each.
        sender: Sends them.
        check: The sandbox; called from several threads, for replies that may hold an answer.
        gate: Under which it checks.
        pool: Where checks run.
        control_poll: Asked for pauses and stops.
        clock: Its ``model`` runs while requests are under way, ``check`` while only checks are.
        on_reply: told every reply, and its place in its request, as it comes in.
        on_checked: told every checked reply, in the order of the slots.

    Raises:
        ModelError: the model cannot answer.
        Interrupted: the search was told to stop.
    """
    slots = [
        slot
        for request in requests
        for slot in (range(request.n) if request.slot is None else [request.slot])
    ]
    waiting: list[int | None] = [*sorted(slots)]
    checks: dict[int | None, tuple[Completion, Future[CheckReport]]] = {}

    def submit(request: SearchRequest, index: int, reply: Completion) -> None:
        on_reply(reply, index)
        slot = index if request.slot is None else request.slot
        checks[slot] = reply, pool.submit(_checked, reply, check, gate)

    def tell() -> None:
        while waiting and waiting[0] in checks and checks[waiting[0]][1].done():
            slot = waiting.pop(0)
            assert slot is not None
            reply, report = checks[slot]
            on_checked(slot, reply, report.result())

    def unfit(request: SearchRequest) -> None:
        waiting.remove(request.slot)

    corrections = all(request.repair for request in requests)
    try:
        with clock.running("model"):
            sender.send(requests, submit, tell, unfit if corrections else None)
        with clock.running("check"):
            tell()
            while waiting:
                control_poll.checkpoint()
                wait([checks[waiting[0]][1]], timeout=_POLL_S)
                tell()
    finally:
        for _, report in checks.values():
            report.cancel()


def _checked(reply: Completion, check: Callable[[str], CheckReport], gate: GateMode) -> CheckReport:
    missing = without_answer(reply)
    return refused(reply, missing, gate) if missing else check(reply.text)
