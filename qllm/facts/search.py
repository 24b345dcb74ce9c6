"""A search: its rounds, candidates, conversations, pilots and judgements, as plain records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from marl.statistics import paired_difference
from qllm.facts.candidates import CandidateFacts
from qllm.facts.pilots import Pilot, PilotRow, longest, pilot_table
from qllm.store.records import GateScore
from qllm.store.schema import ChatMessage
from qllm.store.states import ACTIVE, Status

Turn = ChatMessage

ASKED = {"select": "selection", "advice": "advice", "gate": "proposal for the gate"}
"""Kinds of requests to an evaluator, by their part of a conversation's name."""


@dataclass(frozen=True)
class SearchHead:
    """Settings and state of a search."""

    run_id: int
    kind: str
    task: str
    status: Status
    coder: str
    is_llm: bool
    error: str = ""
    evaluator: str = ""
    """The kind of evaluator, and its model."""
    constraint: str = "none"
    gate: str = ""
    """The configured mode."""
    gate_function: str = ""
    """Function that makes weights non-negative under ``enforce``, such as ``abs``."""
    scaled: bool = False
    """Whether q_tot is multiplied by the number of agents."""
    approve: str = "auto"
    """``human`` where a selection needs a person's approval."""
    rounds: int = 0
    """Rounds configured."""
    per_round: int = 0
    given: int = 0
    """Number of given functions that it starts from."""
    command: str = ""
    """The command line that began it."""
    searched: bool = False
    """Whether this is a ``run`` whose search has ended in a selection: the rest is training."""
    elapsed_s: float | None = None
    """Of the search alone, without the trainings that follow."""
    run_s: float | None = None
    """Of the whole run."""
    seconds: tuple[tuple[str, float], ...] = ()
    """Time by activity; empty until the search has ended."""

    @property
    def active(self) -> bool:
        """Whether its job lives."""
        return self.status in ACTIVE

    @property
    def unit(self) -> str:
        """Unit of a reply's length: the embedded writer has no tokenizer."""
        return "tokens" if self.is_llm else "words"

    @property
    def searching(self) -> bool:
        """Whether its job lives and still searches."""
        return self.active and not self.searched


@dataclass(frozen=True)
class Score:
    """Return at the end of a candidate's longest pilots."""

    value: float | None
    steps: int
    whole: bool
    """Whether it was trained for as many steps as the best."""
    error: str


@dataclass(frozen=True)
class Standing:
    """The selection of the last finished round compared with the other functions."""

    decided: bool
    """Whether the pilots separate the selection from every other function."""
    best: int
    """Number of the selected candidate."""
    close: tuple[int, ...]
    """Numbers of the candidates not separated from it; empty where decided."""
    with_baseline: bool
    """Whether it is not separated from the plain sum of the agents' values."""


@dataclass(frozen=True)
class Piloting:
    """Pilot trainings that are under way."""

    names: tuple[str, ...]
    """Labels of the candidates in their order, and ``vdn``."""
    at: int
    """Index of the current one."""
    share: float
    """Share of its training that is done, over all seeds."""
    steps: int
    """Environment steps of one training."""
    seeds: int


@dataclass(frozen=True)
class RoundFacts:
    """One round."""

    round: int
    finished: bool = True
    selected: int | None = None
    """Number of the selected candidate, the best of all rounds so far."""
    reason: str = ""
    result: str = ""
    advice: str = ""
    accepted: int | None = None
    rejected: int | None = None
    duplicates: int | None = None
    decided: bool = False
    """Whether the pilots separate the selection from all other functions."""
    answers: tuple[str, ...] = ()
    """Answers of persons, in words."""


@dataclass(frozen=True)
class Proposal:
    """A selection that waits for approval."""

    round: int
    candidate_id: int | None
    reason: str
    advice: str


@dataclass(frozen=True)
class GateFacts:
    """The decision on the gate."""

    mode: str
    function: str
    """Function that makes weights non-negative, such as ``abs``; empty where unrecorded."""
    reason: str
    proposal: str
    """A language model's proposal, in words."""
    proposed_by: str
    rows: tuple[GateScore, ...]
    steps: int | None


@dataclass(frozen=True)
class Writing:
    """A reply that is requested, being written or being checked."""

    round: int
    slot: int
    repair: int
    state: str
    """``asked``, ``writing`` or ``checking``."""
    characters: int


@dataclass(frozen=True)
class SearchFacts:
    """Everything of a search."""

    head: SearchHead
    candidates: tuple[CandidateFacts, ...] = ()
    """By round, slot and repair."""
    writing: tuple[Writing, ...] = ()
    rounds: tuple[RoundFacts, ...] = ()
    pilots: tuple[Pilot, ...] = ()
    scores: Mapping[int, Score] = field(default_factory=dict)
    """By candidate's number."""
    standing: Standing | None = None
    """None without a measured selection, and while pilots are under way."""
    decided: bool = False
    """Whether the pilots separate the last selection from every other function."""
    piloting: Piloting | None = None
    turns: tuple[Turn, ...] = ()
    waiting: Proposal | None = None
    gate: GateFacts | None = None
    notes: tuple[tuple[str, str], ...] = ()
    """Level and text."""
    asked: tuple[str, ...] = ()
    """Commands to the job since it started, such as ``stop-after-round``."""
    tokens: int = 0

    @property
    def best(self) -> int | None:
        """The selection of the last finished round, which is the best of all rounds so far."""
        done = [r.selected for r in self.rounds if r.finished]
        return done[-1] if done else None

    @property
    def chosen(self) -> CandidateFacts | None:
        return self.candidate(self.best)

    @property
    def stages(self) -> Counter[str]:
        """How many replies were accepted, were duplicates, or were rejected at which stage."""
        return Counter(c.stage if c.verdict == "rejected" else c.verdict for c in self.candidates)

    def candidate(self, candidate_id: int | None) -> CandidateFacts | None:
        return next((c for c in self.candidates if c.id == candidate_id), None)

    def label(self, candidate_id: int | None) -> str:
        """A candidate's label; empty where there is none."""
        found = self.candidate(candidate_id)
        return found.label if found is not None else ""

    def was_given(self, candidate: CandidateFacts) -> bool:
        """Whether a candidate was given, not written: its slot follows the coder's."""
        slot, own = candidate.slot, self.head.per_round
        return candidate.round == 0 and own <= slot < own + self.head.given

    def pilot_mean(self, candidate: CandidateFacts) -> float | None:
        """Final return of a candidate's function, if it was trained for all pilot steps."""
        score = self.scores.get(candidate.id)
        return score.value if score is not None and score.whole else None

    @property
    def pilot_seeds(self) -> tuple[int, ...]:
        return tuple(sorted({seed for p in self.pilots for seed in p.seeds}))

    @property
    def pilot_rows(self) -> tuple[PilotRow, ...]:
        chosen = self.chosen
        return pilot_table(self.pilots, self.best, chosen.graph_hash if chosen else None)

    @property
    def conversations(self) -> tuple[tuple[str, tuple[Turn, ...]], ...]:
        """The turns of each conversation under its title, round by round."""
        talks = [tuple(own) for _, own in groupby(self.turns, key=lambda t: t.conversation)]
        return tuple((_title(talk[0]), talk) for talk in sorted(talks, key=_talk_order))


def _talk_order(talk: Sequence[Turn]) -> tuple[int, int, str]:
    first, last = talk[0], 10**9
    if first.round is None:
        return last, 0, first.conversation
    slot = first.slot if first.slot is not None else last if first.asked else -1
    return first.round, slot, first.conversation


def _title(turn: Turn) -> str:
    if turn.round is None:
        return turn.conversation
    what = "the opening request"
    if turn.slot is not None:
        what = f"candidate {turn.slot + 1}"
    elif turn.asked:
        what = f"the evaluator's {ASKED[turn.asked]}"
    return f"Round {turn.round + 1}, {what}" + (", shortened" if turn.shortened else "")


def scores(candidates: Sequence[CandidateFacts], pilots: Sequence[Pilot]) -> dict[int, Score]:
    """The longest pilots of every candidate's function, by the candidate's number."""
    found = longest(pilots)
    most = max((p.steps for p in found.values()), default=0)
    of = {h: Score(p.final, p.steps, p.steps == most, p.error) for h, p in found.items()}
    return {c.id: of[c.graph_hash] for c in candidates if c.graph_hash in of}


def standing(
    candidates: Sequence[CandidateFacts],
    known: Mapping[int, Score],
    pilots: Sequence[Pilot],
    best: int | None,
    *,
    decided: bool,
) -> Standing | None:
    """A selection compared with the other functions.

    Returns:
        None where nothing is selected yet, or it was not measured.
    """
    if best is None or best not in known or known[best].value is None:
        return None
    finals = {(p.graph_hash, p.steps): p.finals for p in pilots}
    accepted = [c for c in candidates if c.verdict == "accepted" and c.id in known]
    mine = next((c.graph_hash for c in accepted if c.id == best), None)

    def close(other: str | None) -> bool:
        """Whether the longest pilots of both do not put the selection above."""
        steps = max((at for h, at in finals if h == other and (mine, at) in finals), default=None)
        if steps is None or not finals[other, steps]:
            return False
        found = paired_difference(finals[mine, steps], finals[other, steps])
        return found is not None and not (found.told_apart and found.mean > 0)

    others = () if decided else (c for c in accepted if c.id != best and close(c.graph_hash))
    return Standing(decided, best, tuple(c.id for c in others), close(None))
