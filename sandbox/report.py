"""What the sandbox says about a candidate."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sandbox.claims import Finite, Igm, PropertyResult
from sandbox.graph import CreditGraph
from sandbox.reading import read_graph

Verdict = Literal["accepted", "rejected"]
Stage = Literal["policy", "compile", "export", "graph", "prove", "properties", "done"]

MAX_REPORTED_SOURCE = 100_000
"""Characters of a reply kept in a report; longer ones are rejected by the policy anyway."""


@dataclass(frozen=True)
class CheckReport:
    """The verdict on one candidate, with everything needed to act on it."""

    verdict: Verdict
    stage: Stage
    """The stage that rejected, or ``done``."""
    rule: str | None
    """Identifier of the rule that rejected, such as ``policy.while``."""
    feedback: str
    """Text for the coder: what was wrong, where, and what to do instead."""
    source: str
    """The reply as given."""
    code: str
    """The Python that was found in it."""
    gate: str
    signature: Literal["weights", "mixing"] | None = None
    igm: Igm | None = None
    finite: Finite | None = None
    linear_in_q: bool | None = None
    properties: tuple[PropertyResult, ...] = ()
    graph_hash: str | None = None
    weight_bounds: tuple[tuple[float, float], ...] | None = None
    """Per agent, proved bounds of d q_tot / d q_i over all states of the card."""
    evidence: float | None = None
    """Largest difference between the source's own results and the rebuilt graph's, on numbers drawn
    after the graph was sent."""
    seed: int = 0
    """Of the property suite: with the same seed and number of examples a failure replays."""
    q_bound: float | None = None
    """Claims hold for agents' |Q| up to this value."""
    row_bytes: int | None = None
    """Memory that training needs for one row of a batch, at most."""
    mathematics: str | None = None
    """The function written out in the task card's names, where it has a readable form."""
    elapsed_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the time went, per stage."""
    layers: dict[str, str] = field(default_factory=dict)
    """Isolation layers that were live, or why not."""
    graph: CreditGraph | None = None
    """The gated credit graph; present exactly when accepted."""

    @property
    def accepted(self) -> bool:
        """Whether the candidate may be trained."""
        return self.verdict == "accepted"

    def to_json(self) -> dict[str, Any]:
        """A JSON document with a key per field; the graph as its own JSON."""
        out: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "properties":
                value = [vars(p).copy() for p in value]
            elif f.name == "graph":
                value = value.to_json() if value is not None else None
            elif f.name == "weight_bounds" and value is not None:
                value = [[_finite_or_none(x) for x in pair] for pair in value]
            out[f.name] = value
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CheckReport:
        """The report back from its JSON (the graph is read strictly again).

        Raises:
            sandbox.graph.GraphError: the graph inside is not a valid credit graph.
        """
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in data.items() if k in known}
        kept["properties"] = tuple(PropertyResult(**p) for p in kept.get("properties", ()))
        if kept.get("weight_bounds") is not None:
            inf = float("inf")
            kept["weight_bounds"] = tuple(
                (-inf if low is None else low, inf if high is None else high)
                for low, high in kept["weight_bounds"]
            )
        if kept.get("graph") is not None:
            kept["graph"] = read_graph(kept["graph"])
        return cls(**kept)


def _finite_or_none(x: float) -> float | None:
    return x if x - x == 0 else None
