"""A certificate's claims beside what this machine finds of its function, from scratch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prompts.cards import TaskCard
from sandbox.certificate import Certificate
from sandbox.checker import Sandbox
from sandbox.gate import ungated
from sandbox.report import CheckReport

_IGM = ("violated", "tested", "proved-over-reals", "by-gate", "proved")
_FINITE = ("violated", "tested", "proved")
_STATUS = ("fail", "warn", "pass", "proved")
"""The weakest first. What is found may be stronger than what is claimed."""
_LEAST_UNIT = 1e-30
_SLACK = 1e-6
"""Relative, of bounds: another processor may round outwards at another place."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim of a certificate, and what was found."""

    name: str
    claimed: str
    found: str
    holds: bool


def in_unit_of(document: Mapping[str, Any], card: TaskCard) -> TaskCard:
    """The card in the unit of Q that a certificate names, which its claims are about.

    Args:
        document: from `sandbox.certificate.read_document`.
    """
    made = document.get("reward_scale", 1.0)
    sound = isinstance(made, int | float) and not isinstance(made, bool)
    if not sound or not _LEAST_UNIT < made < 1 / _LEAST_UNIT:
        return card
    return card.in_unit(float(made))


def verify(certificate: Certificate, card: TaskCard, sandbox: Sandbox) -> list[ClaimResult]:
    """Export the source, prove and test the graph anew, and compare every claim with that.

    A claim holds where what is found is at least as strong. What the certificate does not claim is
    not looked at.

    Args:
        certificate: as `sandbox.certificate.read_tfcaf` read it, which compared the graph's hash.
        card: the task, in the certificate's unit of Q.
        sandbox: one that runs sources, where there is a source.

    Raises:
        SandboxUnavailable: there is no sandbox any more.
    """
    graph, results, report = certificate.graph, [], None
    digest = graph.graph_hash
    results.append(ClaimResult("graph", digest[:12], digest[:12], True))
    if certificate.source:
        report = sandbox.check(certificate.source, card, certificate.gate)
        leads = report.graph_hash == digest
        found = "leads to the graph" if leads else f"{_exported(report)}, not to the graph"
        results.append(ClaimResult("source", "leads to the graph", found, leads))
        report = report if leads else None
    if report is None:
        report = sandbox.check_graph(ungated(graph), card, certificate.gate)
    broken = [p.name for p in report.properties if p.status == "fail"]
    judged = report.accepted or (bool(report.properties) and not broken)
    verdict = "no property broken" if judged else f"refused ({report.rule})"
    results.append(ClaimResult("verdict", "no property broken", verdict, judged))
    if certificate.mathematics:
        same = sandbox.mathematics(graph, card) == certificate.mathematics
        found = "the same" if same else "this version writes the graph out otherwise"
        results.append(ClaimResult("mathematics", "given", found, same))
    return [*results, *_claims(certificate, report)]


def _exported(report: CheckReport) -> str:
    if report.graph_hash is None:
        return f"refused ({report.rule})"
    return f"leads to {report.graph_hash[:12]}"


def _claims(certificate: Certificate, report: CheckReport) -> Iterator[ClaimResult]:
    claims = certificate.claims
    for name, order, claimed, found in (
        ("igm", _IGM, claims.igm, report.igm),
        ("finite", _FINITE, claims.finite, report.finite),
    ):
        if claimed is not None:
            yield ClaimResult(name, claimed, str(found), _as_strong(order, claimed, found))
    if claims.linear_in_q is not None:
        holds = bool(report.linear_in_q) or not claims.linear_in_q
        said, seen = _linear(claims.linear_in_q), _linear(report.linear_in_q)
        yield ClaimResult("linear in the agents' Qs", said, seen, holds)
    if claims.q_bound is not None:
        found_bound = report.q_bound or 0.0
        said, seen = (f"for |Q| up to {x:,g}" for x in (claims.q_bound, found_bound))
        yield ClaimResult("range of Q", said, seen, found_bound >= claims.q_bound)
    if claims.row_bytes is not None:
        found_bytes = math.inf if report.row_bytes is None else report.row_bytes
        said, seen = (f"at most {x:,} bytes a row" for x in (claims.row_bytes, found_bytes))
        yield ClaimResult("memory", said, seen, found_bytes <= claims.row_bytes)
    if claims.weight_bounds is not None:
        yield _weights(claims.weight_bounds, report.weight_bounds or ())
    there = {p.name: p.status for p in report.properties}
    for p in claims.properties:
        status = there.get(p.name)
        holds = _as_strong(_STATUS, p.status, status)
        yield ClaimResult(f"property {p.name}", p.status, status or "not looked at", holds)


def _as_strong(order: tuple[str, ...], claimed: str, found: str | None) -> bool:
    if claimed in order and found in order:
        return order.index(found) >= order.index(claimed)
    return claimed == found  # "not-required" is no degree of anything


def _linear(linear_in_q: bool | None) -> str:
    return "yes" if linear_in_q else "not shown"


def _weights(
    claimed: list[list[float | None]], found: tuple[tuple[float, float], ...]
) -> ClaimResult:
    ends = [
        (-math.inf if low is None else low, math.inf if high is None else high)
        for low, high in claimed
    ]
    holds = len(ends) == len(found) and all(
        low - _SLACK * abs(low) <= at_least and at_most <= high + _SLACK * abs(high)
        for (low, high), (at_least, at_most) in zip(ends, found, strict=True)
    )
    return ClaimResult("weights", _intervals(ends), _intervals(found) or "none", holds)


def _intervals(ends: list[tuple[float, float]] | tuple[tuple[float, float], ...]) -> str:
    return ", ".join(f"{low:.4g} to {high:.4g}" for low, high in ends)
