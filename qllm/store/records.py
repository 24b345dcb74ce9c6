"""JSON columns of the store as typed records: the keys that readers use, with their defaults.

Every key may be missing or null, and unknown keys may stand beside the known ones. A known key of
another type makes the row a damaged one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

_Count = Annotated[int, Field(ge=0)]
_Few = Annotated[int, Field(ge=0, le=10_000)]
_Object = dict[str, Any]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            return {key: item for key, item in value.items() if item is not None}
        return value


class GateSettings(_Record):
    """The gate of a configuration."""

    mode: str = ""
    function: str = ""
    scale_by_agents: bool = False


class SearchSettings(_Record):
    """The search of a configuration."""

    rounds: _Few = 0
    candidates: _Few = 0
    """Replies requested in a round."""
    coder: str = ""
    evaluator: str = ""
    constraint: str = "none"
    approve: str = "auto"


class Settings(_Record):
    """``runs.config`` as readers use it; resuming parses it whole."""

    task: str = ""
    preset: str = ""
    steps: _Count | None = None
    env: _Object = {}
    gate: GateSettings = GateSettings()
    synth: SearchSettings = SearchSettings()


class Versions(RootModel[dict[str, str]]):
    """``runs.versions``"""

    model_config = ConfigDict(strict=True)


class Coder(_Record):
    """The coder of a search."""

    name: str
    is_llm: bool


class Evaluator(_Record):
    """The evaluator of a search."""

    kind: str
    model: str = ""


class InitialNetworks(_Record):
    """What a training began with."""

    hash: str
    run: str
    algo: str = ""
    step: _Count = 0
    whole: bool = False
    """Whether mixer or critics were taken over, too."""


class Inputs(_Record):
    """``runs.inputs``"""

    tfcaf: str | None = None
    name: str | None = None
    graph_hash: str | None = None
    candidate_id: _Count | None = None
    pilot_steps: _Count | None = None
    start: list[str] = []
    """Functions that a search begins with, as sources."""
    coder: Coder | None = None
    evaluator: Evaluator | None = None
    replay_of: _Count | None = None
    initial: InitialNetworks | None = None


class Result(_Record):
    """``runs.result``"""

    rows: list[Any] = []
    reason: str = ""
    selected: _Object | None = None
    seconds: dict[str, float] = {}
    """Time of a search by activity."""
    decided: bool = False
    pilot_steps: _Count | None = None
    pilot_updates: _Count | None = None
    env_steps: _Count | None = None
    updates: _Count | None = None
    env_steps_per_s: float | None = None
    wall_s: float | None = None
    learnable_parameters: _Count | None = None


class PropertyFacts(_Record):
    """One property of a candidate's credit graph."""

    name: str = ""
    status: str = ""
    examples: _Count = 0
    counterexample: str | None = None
    detail: str = ""

    @property
    def broken(self) -> bool:
        """Whether it does not hold."""
        return self.status in ("fail", "violated")


class Check(_Record):
    """``candidates.report``; the graph in it is read by its own strict rules."""

    signature: str = ""
    gate: str = ""
    igm: str = ""
    finite: str = ""
    linear_in_q: bool | None = None
    code: str = ""
    feedback: str = ""
    graph_hash: str | None = None
    graph: _Object | None = None
    properties: list[PropertyFacts] = []
    weight_bounds: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]] = []
    q_bound: float | None = None
    evidence: float | None = None
    """Largest difference between the source's outputs and the graph's."""
    seed: int = 0
    elapsed_s: float | None = None
    layers: dict[str, str] = {}
    """Isolation layers of the sandbox, and whether each was on."""
    mathematics: str | None = None
    """The function written out in the card's names; None where it has no readable form."""


class GateProposal(_Record):
    """What a language model proposed as the gate."""

    model: str = ""
    mode: str = ""
    reason: str = ""


class GateScore(_Record):
    """Final returns of one function under both gates."""

    candidate: str = ""
    same: bool = False
    relax: float | None = None
    enforce: float | None = None
    enforce_refused: str = ""
    """The rule that rejected it under ``enforce``."""


class GateEvidence(_Record):
    """What a decision on the gate rests on."""

    proposal: GateProposal | str = ""
    scores: list[GateScore] = []
    steps: _Count | None = None


class Reason(_Record):
    """``verdicts.reason``, of every kind."""

    key: str = ""
    graph_hash: str | None = None
    steps: _Count = 0
    env_steps: _Count = 0
    episodes: _Count = 0
    seeds: list[_Count] | _Count = []
    """Of pilots each seed, of those under way how many."""
    curve: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = []
    finals: list[float] = []
    areas: list[float] = []
    final_mean: float | None = None
    area_mean: float | None = None
    updates: _Count = 0
    decided: bool = False
    error: str = ""
    keys: list[str] = []
    at: _Count = 0
    round: _Count = 0
    repair: _Count | None = None
    reason: str = ""
    result: str = ""
    advice: str = ""
    accepted: _Count | None = None
    rejected: _Count | None = None
    duplicates: _Count | None = None
    answer: str = ""
    selected: str | None = None
    mode: str = ""
    function: str = ""
    text: str = ""
    level: str = "info"
    evidence: GateEvidence = GateEvidence()


class Payload(_Record):
    """``commands.payload``"""

    candidate: _Count | None = None
    advice: str = ""


class Request(_Record):
    """``messages.request``"""

    key: str = ""
    index: _Count | None = None
    n: _Count | None = None
    finish_reason: str | None = None
    violation: str | None = None


def fitting(shape: type[BaseModel]) -> Callable[[dict[str, Any]], str]:
    """A check of an object: says what does not fit the record, such as ``start.0: should be ...``;
    empty where it fits."""

    def check(value: dict[str, Any]) -> str:
        try:
            shape.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return f"{where}: {first['msg'].removeprefix('Input ')}"
        return ""

    return check
