"""Read what a caged child answers, as data: bounded texts, small numbers, known words."""

from __future__ import annotations

import math
import re
from typing import Any

from sandbox.claims import Findings, Proof, PropertyResult, slopes_from_text
from sandbox.graph import CreditGraph
from sandbox.isolation.wire import WireError

MAX_TEXT = 4_000
_STATUSES = ("pass", "fail", "warn", "proved")
_RULE = re.compile(r"[a-z]{1,20}\.[a-z_]{1,40}")
_STAGES = ("policy", "compile", "export", "graph")

Finding = tuple[str, str, int | None]
"""Rule, message and line."""


def read_findings(answer: Any) -> tuple[str, list[Finding]]:
    """Stage and findings of a candidate's child; no findings where it was exported.

    Raises:
        WireError: an answer of unknown form.
    """
    found = answer.get("findings") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise WireError("malformed", "an answer of unknown form")
    kept: list[Finding] = []
    stage = "export"
    for f in found[:10]:
        if not isinstance(f, dict):
            continue
        stage = f["stage"] if f.get("stage") in _STAGES else stage
        line, rule = f.get("line"), f.get("rule")
        kept.append(
            (
                rule if isinstance(rule, str) and _RULE.fullmatch(rule) else "export.error",
                str(f.get("message"))[:600],
                line if type(line) is int and 0 < line < 100_000 else None,
            )
        )
    if found and not kept:
        raise WireError("malformed", "findings of unknown form")
    return stage, kept


def read_refusal(answer: Any) -> Finding | None:
    """Why a judging child refused a graph before it was proved; None where it did not.

    Raises:
        WireError: an answer of unknown form.
    """
    refused = answer.get("refused") if isinstance(answer, dict) else {}
    if refused is None:
        return None
    rule = refused.get("rule") if isinstance(refused, dict) else None
    if not isinstance(rule, str) or not _RULE.fullmatch(rule):
        raise WireError("malformed", "a judge's answer of unknown form")
    return rule, str(refused.get("message"))[:MAX_TEXT], None


def read_judgement(answer: dict[str, Any], gated: CreditGraph) -> Findings:
    """Proof and properties of a judging child.

    Raises:
        WireError: an answer of unknown form.
    """
    found, claims = answer.get("properties"), answer.get("proof")
    if not isinstance(found, list) or not 0 < len(found) < 100:
        raise WireError("malformed", "properties of unknown form")
    gate = gated.gate
    asks = gate is not None and gate.mode == "enforce"
    return Findings(
        _proof(claims, gated.n_agents),
        tuple(_property(p) for p in found),
        by_gate=asks and gated.signature == "weights",
        asks_monotone=asks,
    )


def _proof(claims: Any, n_agents: int) -> Proof:
    try:
        line = claims["loose_index_line"]
        proof = Proof(
            **{name: claims[name] is True for name in _FLAGS},
            slopes=slopes_from_text(claims["slopes"]),
            q_bound=float(claims["q_bound"]),
            rounding=float(claims["rounding"]),
            loose_index_line=line if type(line) is int and 0 <= line < 100_000 else None,
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        raise WireError("malformed", "a proof of unknown form") from None
    if len(proof.slopes) != n_agents or not math.isfinite(proof.q_bound):
        raise WireError("malformed", "a proof of unknown form")
    return proof


_FLAGS = (
    "monotone",
    "monotone_over_reals",
    "linear_in_q",
    "finite",
    "finite_gradient",
    "computed_indices",
)


def _property(p: Any) -> PropertyResult:
    if not isinstance(p, dict) or p.get("status") not in _STATUSES:
        raise WireError("malformed", "a property of unknown form")
    example = p.get("counterexample")
    examples = p.get("examples")
    return PropertyResult(
        name=str(p.get("name"))[:60],
        status=p["status"],
        examples=examples if type(examples) is int and 0 <= examples < 10**9 else 0,
        counterexample=None if example is None else str(example)[:MAX_TEXT],
        detail=str(p.get("detail", ""))[:MAX_TEXT],
    )


def read_seconds(answer: Any) -> dict[str, float]:
    """Where a child says that its time went; nothing where it does not say it."""
    seconds = answer.get("seconds") if isinstance(answer, dict) else None
    if not isinstance(seconds, dict):
        return {}
    return {
        str(k)[:20]: float(v)
        for k, v in list(seconds.items())[:20]
        if type(v) in (int, float) and 0 <= v < 1e6
    }


def read_notes(answer: Any) -> list[str]:
    """What a child says that it read as meant; nothing where it does not say it."""
    notes = answer.get("notes") if isinstance(answer, dict) else None
    return [str(note)[:200] for note in notes[:6]] if isinstance(notes, list) else []


def read_rows(values: Any, rows: int, columns: int) -> list[list[float]]:
    """A matrix of finite numbers.

    Raises:
        WireError: it is none, or has another shape.
    """
    good = isinstance(values, list) and len(values) == rows
    if not good or not all(isinstance(r, list) and len(r) == columns for r in values):
        raise WireError("malformed", "a matrix of unknown form")
    if not all(type(x) in (int, float) and math.isfinite(x) for row in values for x in row):
        raise WireError("malformed", "a matrix that does not hold numbers")
    return [[float(x) for x in row] for row in values]
