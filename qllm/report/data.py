"""What a report shows, and nothing of where it comes from.

Plain frozen records between ``collect`` (which reads the store) and ``render`` (which writes HTML).
Strings may hold anything a model wrote; rendering makes them harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marl.statistics import Difference
from qllm.report.episode import CreditEpisode


@dataclass(frozen=True)
class RunFacts:
    """The run that the report is about."""

    id: int
    kind: str
    """``run``, ``synth``, ``train`` or ``compare``."""
    task: str
    status: str
    """``finished``, ``failed``, ``stopped``, ``running``, ``paused``, ``queued`` or ``died``."""
    command: str
    created: float
    """Seconds since the epoch."""
    wall_s: float | None = None
    """Seconds between the first start and the end."""
    attempts: int = 1
    error: str | None = None


@dataclass(frozen=True)
class StateSliceFacts:
    """One slice of the global state, as the task card declares it."""

    name: str
    columns: str
    """``0 to 1``, or ``5``."""
    kind: str
    range: str
    """``0 to 2, or -1`` (sentinels after the range)."""
    meaning: str


@dataclass(frozen=True)
class TaskFacts:
    """The task in the card's own words."""

    title: str
    prose: str
    n_agents: int
    n_actions: int
    horizon: int
    gamma: float
    reward: str
    """``-30 to 11: the common pay-off of this step``."""
    state: tuple[StateSliceFacts, ...]


@dataclass(frozen=True)
class ResultRow:
    """One row of the result table: a seed, or an algorithm over its seeds (``seed`` None)."""

    algo: str
    seed: int | None
    env_steps: int | None = None
    env_steps_per_s: float | None = None
    metrics: Mapping[str, tuple[float, tuple[float, float] | None]] = field(default_factory=dict)
    """The card's metrics: mean, and interval over seeds."""
    return_mean: float | None = None
    return_iqm: float | None = None
    return_ci: tuple[float, float] | None = None
    """Of the interquartile mean, which only an algorithm's row has."""
    return_mean_ci: tuple[float, float] | None = None
    return_ci_over: str | None = None
    best_return_mean: float | None = None
    return_auc: float | None = None
    learnable_parameters: int | None = None
    pilot_steps: int | None = 0
    """Environment steps spent on choosing its function; None where nobody recorded them."""
    wall_s: float | None = None
    status: str = "finished"
    """Of a seed's training; a stopped one shows what it reached."""


@dataclass(frozen=True)
class Curve:
    """Learning curve of one algorithm; ``centre``, ``low`` and ``high`` go with ``steps``."""

    algo: str
    steps: tuple[int, ...]
    """Environment steps of the evaluations that every seed has."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds of each evaluation's mean team return."""
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    """Ends of the interval over seeds; None with a single seed."""
    seeds: tuple[int, ...]
    cut: bool = False
    """Whether some seed went on after the last step."""
    at: tuple[int, ...] = ()
    """Numbers of the evaluations, from 0; a long curve is thinned."""
    quantity: str = ""
    """Name of the card's metric that it shows; without one it is the team return."""


@dataclass(frozen=True)
class PilotCurve:
    """A pilot training's curve: (environment steps, mean return) of every evaluation."""

    label: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class PilotFacts:
    """How a candidate, or the baseline, did in its longest pilot trainings."""

    label: str
    final_mean: float | None
    """Mean over seeds of the last evaluation's mean return."""
    area_mean: float | None
    """The same of all evaluations after step 0; None for one that was dropped."""
    env_steps: int
    """Of all its pilot trainings together."""
    error: str = ""
    baseline: bool = False
    selected: bool = False
    steps: int | None = None
    """Environment steps of the longest, each seed's own; None where nobody recorded them."""
    dropped: bool = False
    """Whether others were trained longer, since they did better."""
    updates: int | None = None
    """Gradient updates of the longest, the fewest of all seeds."""
    difference: Difference | None = None
    """The selected function's final return minus this one's, by seed, after the same steps."""


@dataclass(frozen=True)
class PropertyFacts:
    """One property of a candidate's credit graph."""

    name: str
    status: str
    examples: int
    counterexample: str | None
    detail: str

    @property
    def broken(self) -> bool:
        """Whether it does not hold."""
        return self.status in ("fail", "violated")


@dataclass(frozen=True)
class CandidateFacts:
    """One reply of the coder, and what became of it."""

    id: int
    """Its number in the store, which ``--tfcaf`` accepts."""
    label: str
    """Its name within the synthesis, such as ``1.3`` or, for its first repair, ``1.3.1``."""
    round: int
    slot: int
    repair: int
    """All three counted from 0."""
    parent: str | None
    verdict: str
    stage: str
    rule: str | None
    code: str
    """The Python that the sandbox found in the reply."""
    reply: str
    """The whole reply."""
    feedback: str
    signature: str | None = None
    gate: str | None = None
    igm: str | None = None
    finite: str | None = None
    linear_in_q: bool | None = None
    weight_bounds: tuple[tuple[float | None, float | None], ...] | None = None
    q_bound: float | None = None
    properties: tuple[PropertyFacts, ...] = ()
    graph_hash: str | None = None
    duplicate_of: str | None = None
    elapsed_s: float | None = None
    pilot_mean: float | None = None
    selected: bool = False
    given: bool = False
    """Whether it was given to start from, and not written by the coder."""
    mathematics: str | None = None
    """The function written out in the card's names; None where it has no readable form."""

    @property
    def accepted(self) -> bool:
        """Whether the sandbox accepted it."""
        return self.verdict == "accepted"

    @property
    def counterexample(self) -> str | None:
        """Of the first property that it breaks."""
        found = (p.counterexample for p in self.properties if p.broken)
        return next((counterexample for counterexample in found if counterexample), None)


@dataclass(frozen=True)
class RoundFacts:
    """One round's outcome."""

    round: int
    selected: str | None
    reason: str
    advice: str
    finished: bool = True


@dataclass(frozen=True)
class TurnFacts:
    """One turn of a conversation with the coder."""

    role: str
    content: str
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None
    seed: int | None = None
    complete: bool = True


@dataclass(frozen=True)
class ConversationFacts:
    """One conversation, in order."""

    name: str
    turns: tuple[TurnFacts, ...]


@dataclass(frozen=True)
class SynthesisFacts:
    """Everything about the writing, checking and selecting of functions."""

    coder: str
    coder_is_llm: bool
    gate: str
    """The gate in words, such as ``enforce (abs)``."""
    candidates: tuple[CandidateFacts, ...] = ()
    rounds: tuple[RoundFacts, ...] = ()
    pilots: tuple[PilotFacts, ...] = ()
    pilot_curves: tuple[PilotCurve, ...] = ()
    pilot_seeds: tuple[int, ...] = ()
    pilot_steps: int = 0
    """Environment steps spent on pilots, all together."""
    selected: str | None = None
    decided: bool = False
    """Whether the pilots tell the selected function from all others."""
    selection_reason: str = ""
    gate_reason: str = ""
    conversations: tuple[ConversationFacts, ...] = ()

    @property
    def chosen(self) -> CandidateFacts | None:
        """The selected candidate."""
        return next((c for c in self.candidates if c.selected), None)


@dataclass(frozen=True)
class CreditFacts:
    """The credit function that a training was given, where it was not written in the same run."""

    name: str
    """Where it came from: a file's path, or a candidate of another run."""
    graph_hash: str | None
    code: str | None
    """Its source; None where it is no longer known."""
    mathematics: str | None = None


@dataclass(frozen=True)
class Report:
    """A whole report."""

    run: RunFacts
    task: TaskFacts | None = None
    """None where the card is no longer there."""
    synthesis: SynthesisFacts | None = None
    """None for a plain training or comparison."""
    credit: CreditFacts | None = None
    episode: CreditEpisode | None = None
    """The function at work; None where there is none, or its task cannot be played."""
    rows: tuple[ResultRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    metric_curves: tuple[tuple[Curve, ...], ...] = ()
    """Those of the card's metrics, one group for each."""
    curve_words: str = ""
    """What the curves' line and band are, in words."""
    seeds: tuple[int, ...] = ()
    settings_yaml: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    isolation: Mapping[str, str] = field(default_factory=dict)
    """Layers of the sandbox that were live."""
