"""What is shown of a search, as plain records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from qllm.store.runs import ACTIVE, Status
from qllm.tui.reading.search_rows import CandidateRow, Turn


@dataclass(frozen=True)
class SearchHead:
    """What is known of a search before its first reply, and how far it is."""

    run_id: int
    kind: str
    task: str
    status: Status
    error: str
    coder: str
    is_llm: bool
    evaluator: str
    """Who judges, in words."""
    constraint: str
    gate: str
    approve: str
    """``human`` where a person is asked before a selection counts."""
    rounds: int
    """Rounds it is to have."""
    per_round: int
    command: str
    """The command line that began it."""
    searched: bool
    """Whether this is a ``run`` whose search has ended in a selection: the rest is training."""
    elapsed_s: float | None
    """Of the search; its end is not the end of a run that goes on to train."""
    run_s: float | None
    """Of the whole run."""
    seconds: tuple[tuple[str, float], ...]
    """Where the time went; empty until the search has ended."""

    @property
    def active(self) -> bool:
        """Whether its job lives."""
        return self.status in ACTIVE

    @property
    def unit(self) -> str:
        """What replies are counted in: the embedded writer has no tokenizer."""
        return "tokens" if self.is_llm else "words"

    @property
    def searching(self) -> bool:
        """Whether its job lives and still searches."""
        return self.active and not self.searched


@dataclass(frozen=True)
class Score:
    """Return at the end of pilot trainings."""

    value: float | None
    steps: int
    whole: bool
    """Whether it was trained for as many steps as the best."""
    error: str


@dataclass(frozen=True)
class Standing:
    """How the functions stand to each other that were trained for all pilot steps."""

    decided: bool
    """Whether the pilots tell the choice from every other function of the search."""
    best: int
    """Number of the candidate that is held against the others."""
    close: tuple[int, ...]
    """Numbers of the candidates that its pilots do not tell from it; empty where decided."""
    with_baseline: bool
    """Whether they do not tell it from the plain sum of the agents' values either."""
    measured: int
    """How many candidates' functions, without the plain sum."""


@dataclass(frozen=True)
class Piloting:
    """Pilot trainings that are under way."""

    names: tuple[str, ...]
    """Labels of the candidates in their order, and ``vdn``."""
    at: int
    """Place of the one at work."""
    share: float
    """How much of its training is done, all seeds together."""
    steps: int
    """Environment steps of one training."""
    seeds: int


@dataclass(frozen=True)
class PilotRow:
    """Pilot trainings of one function."""

    round: int | None
    name: str
    """The candidate's label, or ``vdn``."""
    steps: int
    seeds: int
    final: float | None
    """Mean over the seeds of the last evaluation's mean return."""
    area: float | None
    """The same of all evaluations after step 0."""
    error: str
    baseline: bool


@dataclass(frozen=True)
class RoundRow:
    """One round."""

    round: int
    finished: bool
    selected: int | None
    """Number of the selected candidate."""
    reason: str
    result: str
    advice: str
    accepted: int | None
    rejected: int | None
    duplicates: int | None
    decided: bool
    """Whether the pilots tell the selected one from all others."""
    answers: tuple[str, ...]
    """What persons answered, in words."""


@dataclass(frozen=True)
class Proposal:
    """A selection that waits for a person."""

    round: int
    candidate_id: int | None
    reason: str
    advice: str


@dataclass(frozen=True)
class GateRow:
    """How one function did under both gates."""

    name: str
    same: bool
    relax: float | None
    enforce: float | None
    refused: str
    """The rule that refused it under ``enforce``."""


@dataclass(frozen=True)
class GateView:
    """The decision on the gate."""

    mode: str
    function: str
    """What makes weights non-negative, such as ``abs``; empty where that was not told."""
    reason: str
    proposal: str
    """What a language model proposed, in words."""
    rows: tuple[GateRow, ...]
    steps: int | None


@dataclass(frozen=True)
class Writing:
    """A reply that is asked for, being written or being checked."""

    round: int
    slot: int
    repair: int
    state: str
    """``asked``, ``writing`` or ``checking``."""
    characters: int


@dataclass(frozen=True)
class SynthesisView:
    """Everything that the screen of a search shows."""

    head: SearchHead
    candidates: tuple[CandidateRow, ...]
    """By round, slot and repair."""
    writing: tuple[Writing, ...]
    rounds: tuple[RoundRow, ...]
    pilots: tuple[PilotRow, ...]
    scores: Mapping[int, Score]
    """By candidate's number."""
    standing: Standing | None
    piloting: Piloting | None
    turns: tuple[Turn, ...]
    waiting: Proposal | None
    gate: GateView | None
    notes: tuple[tuple[str, str], ...]
    """Level and text."""
    asked: tuple[str, ...]
    """What the job was asked for since it started, such as ``stop-after-round``."""
    tokens: int

    @property
    def best(self) -> int | None:
        """The selection of the last finished round, which is the best of all rounds so far."""
        done = [r.selected for r in self.rounds if r.finished]
        return done[-1] if done else None

    @property
    def stages(self) -> Counter[str]:
        """How many replies were accepted, were duplicates, or were rejected at which stage."""
        return Counter(c.stage if c.verdict == "rejected" else c.verdict for c in self.candidates)

    def candidate(self, candidate_id: int | None) -> CandidateRow | None:
        """A candidate by its number."""
        return next((c for c in self.candidates if c.id == candidate_id), None)
