"""Say what is wrong with a candidate so that its author, often a small model, can mend it."""

from __future__ import annotations

from collections.abc import Sequence

from prompts.cards import TaskCard
from sandbox.extract import quote_line
from sandbox.report import PropertyResult

_REMEDY = {
    "finite": "Never divide by what may be zero, take logs or roots of what may be negative, or "
    "let exponents grow: add a positive constant, or use torch.clamp before it.",
    "finite_gradient": "Keep the argument of sqrt, log, pow and norm away from zero, also in the "
    "branch that torch.where does not choose.",
    "deterministic": "Use nothing random and no uninitialised memory.",
    "row_independent": "Every row of the batch is a different moment: never sum, average, sort or "
    "normalise over dimension 0.",
    "monotone": "Under the IGM gate q_tot must not fall when an agent's Q rises: multiply each "
    "agent's Q by a weight that is never negative, or return (weights, bias) from a function of "
    "state alone.",
    "greedy_is_best": "Under the IGM gate the agents' own best actions must be the team's best: "
    "keep q_tot non-decreasing in every agent's Q.",
    "someone_credited": "q_tot must depend on agent_qs: give at least one agent a non-zero weight "
    "in some state.",
}


def for_findings(code: str, findings: Sequence[tuple[str, str, int | None]]) -> str:
    """Text for what the policy, the export or the graph reader refused."""
    lines = ["The function was rejected before it could be tested."]
    for rule, message, line in findings:
        where = quote_line(code, line)
        lines.append(f"- [{rule}] {where + ': ' if where else ''}{message}")
    return "\n".join(lines)


def for_properties(properties: Sequence[PropertyResult], signature: str, card: TaskCard) -> str:
    """Text for what the property suite found; warnings of an accepted function included."""
    failures = [p for p in properties if p.status == "fail"]
    warnings = [p for p in properties if p.status == "warn"]
    lines = []
    if failures:
        lines.append("The function runs, but it breaks a property that it must have.")
    for p in failures:
        lines.append(f"- [{p.name}] {p.counterexample or p.detail}")
        remedy = _REMEDY.get(p.name)
        if remedy:
            lines.append(f"  {remedy}")
    if warnings:
        lines.append("Worth a thought (no reason to reject):")
        lines += [f"- [{p.name}] {p.counterexample or p.detail}" for p in warnings]
    return "\n".join(lines)
