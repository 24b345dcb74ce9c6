"""``synth.approve=human``: a selection waits for a person's answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from synth.control import Steering
from synth.events import SelectionProposed

_POLL_S = 0.1


@dataclass(frozen=True)
class Answer:
    """What a person said to a proposed selection."""

    answer: Literal["approve", "reject"]
    selected: str | None = None
    """With ``approve``: key of another function of this round to take instead."""
    advice: str | None = None
    """What the coder is told in place of the evaluator's advice."""


Person = Callable[[SelectionProposed], Answer | None]
"""The answer to a proposal, or ``None`` while there is none yet; it is asked again."""


def wait_for(person: Person, proposal: SelectionProposed, steering: Steering) -> Answer:
    """The answer, as soon as there is one.

    Raises:
        Interrupted: somebody said stop.
    """
    while (answer := person(proposal)) is None:
        steering.checkpoint()
        time.sleep(_POLL_S)
    return answer
