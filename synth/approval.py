"""``synth.approve=human``: a selection waits for a person's answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from synth.control import ControlPoll
from synth.events import SelectionProposed

_POLL_S = 0.1


@dataclass(frozen=True)
class Answer:
    """A person's answer to a proposed selection."""

    answer: Literal["approve", "reject"]
    selected: str | None = None
    """With ``approve``: key of another function of this round to take instead."""
    advice: str | None = None
    """Advice to the coder in place of the evaluator's."""


Person = Callable[[SelectionProposed], Answer | None]
"""The answer to a proposal, or ``None`` while there is none yet; it is asked again."""


def wait_for(person: Person, proposal: SelectionProposed, control_poll: ControlPoll) -> Answer:
    """The answer, as soon as there is one.

    Raises:
        Interrupted: the search was told to stop.
    """
    while (answer := person(proposal)) is None:
        control_poll.checkpoint()
        time.sleep(_POLL_S)
    return answer
