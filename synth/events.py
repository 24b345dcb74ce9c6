"""What happens during a synthesis, as it happens: plain records for a store, a screen or a log.

Every record carries the numbers of the row it belongs to: round, slot (candidate of the round) and
repair, all counted from 0. A round's opening request asks for all its candidates at once, so it has
no slot (``None``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from models.protocol import Completion, Message

if TYPE_CHECKING:
    from sandbox.report import CheckReport
    from synth.pilot import PilotScore


@dataclass(frozen=True)
class RoundStarted:
    """A round begins."""

    round: int
    rounds: int
    candidates: int


@dataclass(frozen=True)
class Prompted:
    """A request goes out to the coder."""

    round: int
    slot: int | None
    """``None`` for the opening request of a round, which all its slots share."""
    repair: int
    conversation: str
    """``r0`` for the opening of round 0, ``r0.s2`` for the corrections in its slot 2."""
    request: str
    """Key of the request (``models.replay.request_key``): what a recorded reply is found by."""
    n: int
    """How many replies are asked for."""
    seed: int
    messages: tuple[Message, ...]
    """Everything that is sent."""
    new_from: int
    """Index of the first message that no earlier ``Prompted`` or ``Replied`` of this round held."""


@dataclass(frozen=True)
class ReplyText:
    """Some more text of a reply that is being written."""

    round: int
    slot: int
    repair: int
    conversation: str
    text: str


@dataclass(frozen=True)
class Replied:
    """A reply is complete."""

    round: int
    slot: int
    repair: int
    conversation: str
    request: str
    index: int
    """Place among the ``n`` replies of the request."""
    n: int
    completion: Completion


@dataclass(frozen=True)
class CandidateChecked:
    """The sandbox has judged a reply."""

    round: int
    slot: int
    repair: int
    key: str
    parent: str | None
    """``key`` of the reply that this one corrects."""
    source: str
    report: CheckReport
    duplicate_of: str | None
    """``key`` of the earlier accepted candidate that computes the same function."""


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
    """What was measured of it, in words; empty where nothing was."""
    advice: str
    """One piece of advice for the next round."""


@dataclass(frozen=True)
class SynthesisFinished:
    """The end, whichever way it came."""

    status: Literal["finished", "stopped"]
    selected: str | None
    reason: str
    rejections: dict[str, int]
    """Number of rejections by rule, over the whole synthesis."""
    pilot_steps: int
    """Environment steps spent on pilot trainings."""
    seconds: dict[str, float]
    """Where the time went: ``model``, ``check``, ``evaluate``."""


Event = (
    RoundStarted
    | Prompted
    | ReplyText
    | Replied
    | CandidateChecked
    | PilotStarted
    | PilotScored
    | RoundFinished
    | SynthesisFinished
)
Emit = Callable[[Event], None]
