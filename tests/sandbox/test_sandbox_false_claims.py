"""No function is said to be more than it is, and none brings down whoever looks at it."""

from __future__ import annotations

from collections import Counter

import pytest
from sandbox_false_claims import CASES

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.report import CheckReport


def test_there_are_cases_of_every_kind() -> None:
    kinds = Counter(case.kind for case in CASES.values())
    assert set(kinds) == {
        "rows", "crashes", "rounding", "thin", "kernels", "likely", "memory",
        "unproved", "infinite", "places",
    }  # fmt: skip
    assert sum(kinds.values()) >= 80


@pytest.mark.parametrize("name", CASES)
def test_vulnerability_no_function_is_called_what_it_is_not(
    name: str, warm_sandbox: Sandbox
) -> None:
    case = CASES[name]
    report = warm_sandbox.check(case.source, load_card(case.task))
    came = "accepted" if report.accepted else report.rule
    assert "*" in case.expected or came in case.expected, (came, report.feedback)
    assert_says_why(report)
    if case.kind in ("rounding", "unproved"):
        assert report.igm not in ("proved", "by-gate"), report.igm
    if case.kind == "infinite":
        assert report.finite != "proved"


def assert_says_why(report: CheckReport) -> None:
    """A refusal has a reason that a coder can act on, and is no failure of ours."""
    if not report.accepted:
        assert report.rule
        assert len(report.feedback) > 20
    assert "Traceback" not in report.feedback
    assert "within QLLM itself" not in report.feedback
