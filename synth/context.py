"""Context and outcome of a search."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from models.protocol import ChatModel, Constraint
from synth.approval import Person
from synth.budget import Budget
from synth.candidates import Candidate
from synth.control import Control, ControlPoll
from synth.conversation import Renderer
from synth.evaluator import Evaluator
from synth.events import Emit
from synth.gating import GateCheck, GateSearch

if TYPE_CHECKING:
    from sandbox.config import GateMode


@dataclass(frozen=True)
class SynthesisResult:
    """Outcome of a search."""

    status: Literal["finished", "stopped"]
    """``stopped``: told to stop in the middle of a round, whose candidates were not judged."""
    selected: Candidate | None
    """The best of all judged rounds; ``None`` if no function could be used."""
    reason: str
    """Why it was selected, or why none was, in words."""
    gate: GateMode
    """Under which gate the selected function was checked."""
    candidates: tuple[Candidate, ...]
    """Every checked reply in the order of round, repair, slot."""
    rounds: int
    """Rounds that ended in a judgement."""
    rejections: dict[str, int]
    """Number of rejections by rule, most frequent first."""
    stages: dict[str, int]
    """Number of the coder's replies by the stage that refused them; ``accepted`` for the others.
    What was given to start from does not count."""
    most_promising: Candidate | None
    """The reply that came furthest, if none was accepted."""
    decided: bool
    """Whether pilots tell the selected function from every other one that was measured."""
    pilot_steps: int
    """Environment steps spent on pilot trainings."""
    pilot_updates: int
    """Gradient updates of one pilot training that went all the way."""
    tokens: int
    """Tokens that the models read and wrote, replies from a record included."""
    seconds: dict[str, float]
    """Wall-clock seconds: ``model`` while replies were awaited, ``check`` while only
    the sandbox worked, ``evaluate`` for evaluator and pilots, ``person`` while a person was asked.
    Checks run while other replies are being written; ``check_work`` is their sum, and overlaps."""

    @property
    def accepted(self) -> int:
        """Number of accepted replies, duplicates included."""
        return sum(c.accepted for c in self.candidates)


def nothing_ahead(candidate: Candidate, most: int) -> None:
    """Nothing is begun before a round is complete."""


Ahead = Callable[[Candidate, int], None]


@dataclass(frozen=True)
class SearchContext:
    """The parts that a search works with, and where its events go."""

    coder: ChatModel
    check: GateCheck
    """The sandbox, for the task. Called from several threads."""
    evaluator: Evaluator
    emit: Emit
    control: Control
    """Asked between steps: ``continue``, ``pause``, ``stop``, or ``stop-after-round``, which lets
    the current round end in its selection and counts as finished."""
    render: Renderer
    gate: GateMode | GateSearch = "enforce"
    constraint: Constraint | None = None
    """The constraint on replies."""
    person: Person | None = None
    """Approves selections; ``None``: they need no approval."""
    start: tuple[str, ...] = ()
    """Sources to begin with."""
    ahead: Ahead = nothing_ahead
    """Told every new function under the settled gate, and how many the round may have at most."""
    budget: Budget | None = None
    """Limits of cost; by default the configuration's. The evaluator counts to it, too."""
    control_poll: ControlPoll | None = None
    """The evaluator's, if it asks a model of its own."""
    workers: int = field(default_factory=lambda: max(1, os.cpu_count() or 1))
    """Checks at the same time."""
