"""Events of a search: plain records for a store, a screen or a log.

Every record carries the numbers of the row it belongs to: round, slot (candidate of the round) and
repair, all counted from 0. A round's opening request asks for all its candidates at once, so it has
no slot (``None``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models.protocol import Completion, Message, Purpose

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from synth.candidates import Candidate
    from synth.pilot import PilotScore


@dataclass(frozen=True)
class RoundStarted:
    """A round begins."""

    round: int
    rounds: int
    candidates: int


@dataclass(frozen=True)
class Prompted:
    """A request goes out to a model."""

    role: Purpose
    round: int
    slot: int | None
    """``None`` for the opening request of a round, which all its slots share, and for requests to
    the evaluator."""
    repair: int
    conversation: str
    """``r0`` for the opening of round 0, ``r0.s2`` for the corrections in its slot 2, ``r0.select``
    and ``r0.advice`` for the evaluator; ``r0-1`` and so on where something was left out to fit the
    model's context."""
    request: str
    """Key of the request (``models.replay.request_key``): what a recorded reply is found by."""
    n: int
    """Number of replies."""
    seed: int
    messages: tuple[Message, ...]
    """Everything that is sent."""
    new_from: int
    """Index of the first message that no earlier ``Prompted`` or ``Replied`` of this round held."""
    left_out: str = ""
    """Parts that were left out to fit the model's context, in words."""


@dataclass(frozen=True)
class ReplyText:
    """Some more text of a reply that is being written."""

    role: Purpose
    round: int
    slot: int | None
    """``None`` for the evaluator's."""
    repair: int
    conversation: str
    position: int
    """Place of the reply in its conversation."""
    text: str


@dataclass(frozen=True)
class Replied:
    """A reply is complete."""

    role: Purpose
    round: int
    slot: int | None
    """``None`` for the evaluator's."""
    repair: int
    conversation: str
    position: int
    """Place of the reply in its conversation."""
    request: str
    index: int
    """Place among the ``n`` replies of the request."""
    n: int
    completion: Completion


@dataclass(frozen=True)
class CandidateChecked:
    """The sandbox has checked a reply, or checked it again under another gate."""

    candidate: Candidate


@dataclass(frozen=True)
class PilotStarted:
    """Short trainings of some candidates begin, all with the same seeds and steps."""

    round: int
    keys: tuple[str, ...]
    """Candidates' keys, and ``vdn`` where the plain sum is measured, too."""
    seeds: tuple[int, ...]
    steps: int


@dataclass(frozen=True)
class PilotScored:
    """A pilot's result."""

    round: int
    key: str
    """The candidate's key, or ``vdn``."""
    graph_hash: str | None
    """``None`` for the plain sum."""
    score: PilotScore


@dataclass(frozen=True)
class Noted:
    """A remark for the user."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class BudgetSpent:
    """No further request goes out."""

    round: int
    repair: int
    reason: str


@dataclass(frozen=True)
class GateSettled:
    """``gate.mode=auto`` has come to a decision."""

    mode: GateMode
    reason: str
    evidence: dict[str, Any]
    """The evaluator's ``proposal`` if there was one, and the ``scores`` of both gates."""


@dataclass(frozen=True)
class SelectionProposed:
    """A person is asked to approve a selection."""

    round: int
    attempt: int
    """0, then one more after every rejection."""
    selected: str
    reason: str
    advice: str


@dataclass(frozen=True)
class SelectionAnswered:
    """A person has answered."""

    round: int
    attempt: int
    answer: Literal["approve", "reject"]
    selected: str
    """The function that was approved or rejected."""
    advice: str | None
    """The person's own advice, if any."""


@dataclass(frozen=True)
class RoundFinished:
    """A round's candidates are judged."""

    round: int
    accepted: int
    rejected: int
    duplicates: int
    selected: str | None
    """``key`` of the best candidate so far; may be one of an earlier round."""
    reason: str
    """Why it was selected, in words."""
    result: str
    """Measurements of it, in words; empty where there are none."""
    advice: str
    """One piece of advice for the next round."""
    decided: bool = False
    """Whether measurement tells the selected one from every other function."""


@dataclass(frozen=True)
class SynthesisFinished:
    """The end, whichever way it came."""

    status: Literal["finished", "stopped"]
    selected: str | None
    reason: str
    rejections: dict[str, int]
    """Number of rejections by rule, over the whole synthesis."""
    stages: dict[str, int]
    """Number of checked replies by the stage that refused them; ``accepted`` for the others."""
    most_promising: str | None
    """``key`` of the reply that came furthest, if none was accepted."""
    pilot_steps: int
    """Environment steps spent on pilot trainings."""
    seconds: dict[str, float]
    """Seconds by part (see :class:`synth.context.SynthesisResult`)."""


Event = (
    RoundStarted
    | Prompted
    | ReplyText
    | Replied
    | CandidateChecked
    | PilotStarted
    | PilotScored
    | Noted
    | BudgetSpent
    | GateSettled
    | SelectionProposed
    | SelectionAnswered
    | RoundFinished
    | SynthesisFinished
)
Emit = Callable[[Event], None]
