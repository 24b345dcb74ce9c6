"""What readers rely on in the JSON of rows: the types of known keys, where they are there.

Anything else may stand beside them, and every key may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

_Count = Annotated[int, Field(ge=0)]
_Few = Annotated[int, Field(ge=0, le=10_000)]
_Object = dict[str, Any]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Search(_Shape):
    rounds: _Few | None = None
    candidates: _Few | None = None
    coder: str | None = None


class Configuration(_Shape):
    """``runs.config``; a run that goes on reads it whole, with its own rules."""

    task: str | None = None
    env: _Object | None = None
    gate: _Object | None = None
    synth: _Search | None = None


class Versions(RootModel[dict[str, str]]):
    """``runs.versions``"""

    model_config = ConfigDict(strict=True)


class _Coder(_Shape):
    name: str
    is_llm: bool


class _Evaluator(_Shape):
    kind: str
    model: str | None = None


class Inputs(_Shape):
    """``runs.inputs``"""

    tfcaf: str | None = None
    name: str | None = None
    graph_hash: str | None = None
    candidate_id: _Count | None = None
    pilot_steps: _Count | None = None
    start: list[str] | None = None
    coder: _Coder | None = None
    evaluator: _Evaluator | None = None
    replay_of: _Count | None = None


class Result(_Shape):
    """``runs.result``"""

    rows: list[Any] | None = None
    reason: str | None = None
    selected: _Object | None = None
    seconds: dict[str, float] | None = None
    decided: bool | None = None
    pilot_steps: _Count | None = None
    pilot_updates: _Count | None = None
    env_steps: _Count | None = None
    updates: _Count | None = None
    env_steps_per_s: float | None = None
    wall_s: float | None = None
    learnable_parameters: _Count | None = None


class _Property(_Shape):
    name: str | None = None
    status: str | None = None
    examples: _Count | None = None
    counterexample: str | None = None
    detail: str | None = None


class Report(_Shape):
    """``candidates.report``; the graph in it is read by its own strict rules."""

    signature: str | None = None
    gate: str | None = None
    igm: str | None = None
    finite: str | None = None
    linear_in_q: bool | None = None
    code: str | None = None
    feedback: str | None = None
    graph_hash: str | None = None
    graph: _Object | None = None
    properties: list[_Property] | None = None
    weight_bounds: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]] | None = (
        None
    )
    q_bound: float | None = None
    evidence: float | None = None
    seed: int | None = None
    elapsed_s: float | None = None
    layers: dict[str, str] | None = None


class _Proposal(_Shape):
    model: str | None = None
    mode: str | None = None
    reason: str | None = None


class _GateScore(_Shape):
    candidate: str | None = None
    relax: float | None = None
    enforce: float | None = None


class _Evidence(_Shape):
    proposal: _Proposal | str | None = None
    scores: list[_GateScore] | None = None
    steps: _Count | None = None


class Reason(_Shape):
    """``verdicts.reason``, of every kind."""

    key: str | None = None
    graph_hash: str | None = None
    steps: _Count | None = None
    env_steps: _Count | None = None
    episodes: _Count | None = None
    seeds: list[_Count] | _Count | None = None
    """Of pilots each seed, of those under way how many."""
    curve: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    finals: list[float] | None = None
    areas: list[float] | None = None
    final_mean: float | None = None
    area_mean: float | None = None
    updates: _Count | None = None
    decided: bool | None = None
    error: str | None = None
    keys: list[str] | None = None
    at: _Count | None = None
    round: _Count | None = None
    repair: _Count | None = None
    reason: str | None = None
    result: str | None = None
    advice: str | None = None
    accepted: _Count | None = None
    rejected: _Count | None = None
    duplicates: _Count | None = None
    answer: str | None = None
    selected: str | None = None
    mode: str | None = None
    function: str | None = None
    text: str | None = None
    level: str | None = None
    evidence: _Evidence | None = None


class Payload(_Shape):
    """``commands.payload``"""

    candidate: _Count | None = None
    advice: str | None = None


class Request(_Shape):
    """``messages.request``"""

    key: str | None = None
    index: _Count | None = None
    n: _Count | None = None
    finish_reason: str | None = None
    violation: str | None = None


def fitting(shape: type[BaseModel]) -> Callable[[dict[str, Any]], str]:
    """A check of an object: says what does not fit the shape, such as ``start.0: should be ...``;
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
