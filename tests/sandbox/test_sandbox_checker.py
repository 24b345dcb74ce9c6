"""A check ends with a verdict that a coder can act on, whatever the candidate does."""

from __future__ import annotations

import json
import re
import time

import pytest

from bench.check import FUNCTIONS
from prompts.cards import load_card
from sandbox.agreement import DisagreementError, largest_difference
from sandbox.checker import Sandbox
from sandbox.config import GateConfig, SandboxConfig
from sandbox.evidence import draw_inputs
from sandbox.feedback import PROVED_FORMS
from sandbox.gate import ungated
from sandbox.report import CheckReport

CARD = load_card("matrix/climbing")

SUM = "def tfcaf(agent_qs, state):\n    return agent_qs.sum(dim=1, keepdim=True)\n"
WEIGHTS = """
def tfcaf(state):
    last = state[:, 0:2]
    weights = 1.0 - 0.5 * (last == 2).float()
    return weights, 0.1 * last.mean(dim=1, keepdim=True)
"""

REJECTED = {
    "syntax error": ("def f(state)\n    return 1", "policy", "policy.syntax", "line 1"),
    "import of os": (
        "import os\ndef f(state):\n    return os.getcwd()",
        "policy",
        "policy.import",
        "leave it out",
    ),
    "infinite loop": (
        "def f(state):\n    while True:\n        pass",
        "policy",
        "policy.while",
        "for i in range",
    ),
    "wrong shape": (
        "def f(agent_qs, state):\n    return agent_qs * state",
        "export",
        "export.shape",
        "keepdim=True",
    ),
    "NaN": (
        "def f(agent_qs, state):\n    return (agent_qs * torch.log(state)).sum(1, keepdim=True)",
        "properties",
        "properties.finite",
        "last_action",
    ),
    "decreasing": (
        "def f(agent_qs, state):\n    return agent_qs[:, :1] - 0.1 * agent_qs[:, 1:]",
        "properties",
        "properties.monotone",
        "raising agent 1's Q",
    ),
    "10^12 elements": (
        "def f(agent_qs, state):\n    x = torch.zeros(10**6, 10**6)\n"
        "    return agent_qs.sum(1, keepdim=True) + x.sum()",
        "graph",
        "graph.size",
        "1,000,000,000,000",
    ),
    "mixed rows": (
        "def f(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True) + state.amax(0).sum()",
        "graph",
        "graph.batch",
        "other rows of the same batch are other moments",
    ),
    "no credit": (
        "def f(agent_qs, state):\n    return 0.0 * agent_qs.sum(1, keepdim=True)",
        "properties",
        "properties.someone_credited",
        "nothing can be learned",
    ),
    "infinite gradient": (
        "def f(agent_qs, state):\n    x = torch.sign(agent_qs) * torch.sqrt(agent_qs.abs())\n"
        "    return x.sum(1, keepdim=True)",
        "properties",
        "properties.finite_gradient",
        "sqrt",
    ),
    "no function": ("I cannot help with that.", "policy", None, ""),
    "too long": ("# " + "x" * 30_000 + "\n" + SUM, "policy", "policy.size", "20,000"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_bad_candidate_is_rejected_with_text_to_act_on(name: str, warm_sandbox: Sandbox) -> None:
    source, stage, rule, said = REJECTED[name]
    report = warm_sandbox.check(source, CARD)
    assert (report.verdict, report.stage) == ("rejected", stage), report.feedback
    assert rule is None or report.rule == rule
    assert said in report.feedback
    assert report.graph is None


def test_a_candidate_that_computes_for_ever_is_stopped_in_time() -> None:
    source = (
        "def f(agent_qs, state):\n    x = [1.0, 3.0, 2.0] * 1700\n    for i in range(9000):\n"
        "        y = sorted(x, reverse=True)\n    return agent_qs.sum(1, keepdim=True)\n"
    )
    with Sandbox(SandboxConfig(cpu_s=0.3)) as box:
        started = time.monotonic()
        report = box.check(source, CARD)
        took = time.monotonic() - started
    with Sandbox(SandboxConfig(examples=5)) as box:
        assert box.check(SUM, CARD).accepted
    assert report.rule == "isolation.time"
    assert took < 60


@pytest.mark.parametrize(
    ("source", "mode", "signature", "igm"),
    [
        (WEIGHTS, "enforce", "weights", "by-gate"),
        (WEIGHTS, "relax", "weights", "not-required"),
        (SUM, "enforce", "mixing", "proved"),
        (SUM, "relax", "mixing", "not-required"),
    ],
)
def test_how_monotonicity_stands_is_said(
    source: str, mode: str, signature: str, igm: str, warm_sandbox: Sandbox
) -> None:
    report = warm_sandbox.check(source, CARD, GateConfig(mode=mode))  # type: ignore[arg-type]
    assert report.accepted, report.feedback
    assert (report.signature, report.igm, report.finite) == (signature, igm, "proved")
    assert report.linear_in_q is True
    assert report.stage == "done"
    assert report.layers["seccomp"] == "on"


@pytest.mark.parametrize(
    ("source", "gate"),
    [
        ("def f(agent_qs, state):\n    return torch.log(agent_qs).sum(1, True)\n", "enforce"),
        ("def f(agent_qs, state):\n    return agent_qs.sum(1, True) / 0\n", "enforce"),
        ("def f(agent_qs, state):\n    return torch.exp(100 * agent_qs).sum(1, True)\n", "enforce"),
        ("def f(state):\n    return torch.ones_like(state[:, :2]), state[:, :1] / 0\n", "enforce"),
        ("def f(agent_qs, state):\n    return agent_qs.sum(1, True) / 0\n", "relax"),
    ],
)
def test_nothing_is_shown_to_hold_of_values_that_are_not_finite(
    source: str, gate: str, warm_sandbox: Sandbox
) -> None:
    card = load_card("matrix/climbing")
    report = warm_sandbox.check(source, card, GateConfig(mode=gate))  # type: ignore[arg-type]
    status = {p.name: p.status for p in report.properties}
    assert (report.finite, status["finite"]) == ("violated", "fail")
    assert report.igm in ("tested", "violated", "not-required")
    holds = {name for name, said in status.items() if said in ("pass", "proved")}
    assert holds == {"shape", "inputs_untouched", "deterministic", "row_independent"}


def test_relax_accepts_what_enforce_refuses(warm_sandbox: Sandbox) -> None:
    source = REJECTED["decreasing"][0]
    assert warm_sandbox.check(source, CARD, GateConfig(mode="relax")).accepted


def test_what_rounding_hides_is_proved_over_the_reals_and_tested(
    warm_sandbox: Sandbox,
) -> None:
    source = (
        "def f(agent_qs, state):\n    x = agent_qs.sum(1, keepdim=True)\n"
        "    return x + 0.9 * torch.sin(x)\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert report.accepted, report.feedback
    assert report.igm == "proved-over-reals"
    monotone = next(p for p in report.properties if p.name == "monotone")
    assert "proved over the reals; rounding what depends on a Q" in monotone.detail
    assert "beside the function's own edges" in monotone.detail


def test_equal_functions_have_equal_hashes_whatever_their_text(warm_sandbox: Sandbox) -> None:
    other = (
        "import torch\n\ndef total(values):\n    return values.sum(dim=1, keepdim=True)\n\n"
        "def credit(q_values, state):\n    unused = state * 3.0\n    return total(q_values)\n"
    )
    first, second = warm_sandbox.check(SUM, CARD), warm_sandbox.check(other, CARD)
    assert first.graph_hash == second.graph_hash
    assert first.graph_hash != warm_sandbox.check(WEIGHTS, CARD).graph_hash


def test_state_kept_between_calls_is_refused(warm_sandbox: Sandbox) -> None:
    source = (
        "calls = []\n\ndef f(agent_qs, state):\n    calls.append(1)\n"
        "    return agent_qs.sum(1, keepdim=True) * len(calls)\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert (report.stage, report.rule) == ("export", "export.state")


@pytest.mark.parametrize("wrong", [False, True])
def test_evidence_of_another_function_is_a_mismatch(warm_sandbox: Sandbox, wrong: bool) -> None:
    graph = warm_sandbox.check(SUM, CARD).graph
    assert graph is not None
    inputs = draw_inputs(CARD, 0)
    sums = [[[str(sum(qs) + wrong * (at > 20))] for at, qs in enumerate(x["agent_qs"])]
            for x in inputs]  # fmt: skip
    reply = {"results": [[rows] for rows in sums]}
    if not wrong:
        assert largest_difference(ungated(graph), inputs, reply) < 1e-5
        return
    with pytest.raises(DisagreementError) as caught:
        largest_difference(ungated(graph), inputs, reply)
    assert caught.value.rule == "export.evidence"


def test_a_report_survives_json(warm_sandbox: Sandbox) -> None:
    for source in (WEIGHTS, REJECTED["NaN"][0]):
        report = warm_sandbox.check(source, CARD)
        text = json.dumps(report.to_json(), allow_nan=False)
        assert CheckReport.from_json(json.loads(text)) == report


def test_the_same_seed_finds_the_same_counterexample(warm_sandbox: Sandbox) -> None:
    source = REJECTED["decreasing"][0]
    first, second = (warm_sandbox.check(source, CARD) for _ in range(2))
    assert first.feedback == second.feedback


def test_a_reply_with_prose_and_fences_is_understood(warm_sandbox: Sandbox) -> None:
    reply = f"Here is my function.\n\n```python\n{WEIGHTS}```\n\nIt favours the safe agent."
    report = warm_sandbox.check(reply, CARD)
    assert report.accepted
    assert report.code.startswith("def tfcaf")
    assert report.source == reply


UNPROVED = """
def tfcaf(agent_qs, state):
    \"\"\"Weigh by 1 / (1.5 + cosine), whose bounds the prover does not see.\"\"\"
    towards = F.normalize(state[:, :2], dim=1, eps=1e-6)  # at most 1 / 1
    return agent_qs.sum(1, keepdim=True) / (1.5 + towards[:, :1])
"""


def test_what_is_merely_tested_is_refused_unless_that_is_allowed() -> None:
    with Sandbox(SandboxConfig(examples=5)) as box:
        strict = box.check(UNPROVED, CARD)
        broken = box.check(REJECTED["decreasing"][0], CARD)
    with Sandbox(SandboxConfig(require_proofs=False, examples=5)) as box:
        lax = box.check(UNPROVED, CARD)
    assert (strict.verdict, strict.stage) == ("rejected", "properties")
    assert strict.rule in ("properties.monotone", "properties.finite")
    assert "could not be proved" in strict.feedback
    assert "Look first at line 4" in strict.feedback  # neither the docstring nor the comment
    assert "raising agent 1's Q" in broken.feedback
    assert (lax.verdict, lax.igm, lax.finite) == ("accepted", "tested", "tested")


def test_every_function_written_by_hand_is_proved(warm_sandbox: Sandbox) -> None:
    assert warm_sandbox.config.require_proofs
    for name, (task, source) in FUNCTIONS.items():
        report = warm_sandbox.check(source, load_card(task))
        assert report.accepted, f"{name}: {report.feedback}"


@pytest.mark.parametrize(
    "line",
    [
        'k = list({"a", "b", "c"}).index("a")',
        'k = [len(x) for x in {"near", "far"}][0]',
        'k = len([*{"near", "far"}][0])',
        'first, second = {"near", "far"}\n    k = len(first)',
        'first, *rest = {"near", "far"}\n    k = len(first)',
        'k = len(max(*{"near", "far"}, key=len))',
        'k = len(max({"near", "fore"}, key=len))',
        'k = len(next_of({"near", "far"}))',
        'k = sum(i * len(x) for i, x in enumerate({"near", "far"}))',
        'k = [i * len(x) for i, x in zip(range(2), {"near": 1}.keys() | {"far"})][1]',
        "k = 1.0\n    for f in {len, abs}:\n        k = 2.0 * k",
    ],
)
def test_a_set_is_gone_through_in_no_order(line: str, warm_sandbox: Sandbox) -> None:
    """Texts have other hashes in each process, and functions other addresses."""
    source = (
        "def next_of(values):\n    for value in values:\n        return value\n\n"
        f"def tfcaf(state):\n    {line}\n    return 1.0 + state.abs() * k, 0.0\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert report.rule == "export.set"
    assert "sorted(...)" in report.feedback


def test_a_set_can_be_asked_sorted_and_hold_numbers(warm_sandbox: Sandbox) -> None:
    source = (
        'def tfcaf(state):\n    k = sorted({"b", "a"}).index("b") + len({"a", "b"})\n'
        '    for x in {1, 2, 3}:\n        k = 2 * k + x + ("a" in {"a", "c"})\n'
        "    return 1.0 + state.abs() * k, 0.0\n"
    )
    assert warm_sandbox.check(source, CARD).accepted


def test_several_candidates_are_checked_at_once_in_their_order(warm_sandbox: Sandbox) -> None:
    sources = [SUM, REJECTED["wrong shape"][0], WEIGHTS, REJECTED["import of os"][0], SUM]
    reports = warm_sandbox.check_all(sources, CARD)
    assert [r.stage for r in reports] == ["done", "export", "done", "policy", "done"]
    assert reports[0].graph_hash == reports[4].graph_hash


def test_a_suite_that_takes_too_long_rejects_its_candidate_only() -> None:
    config = SandboxConfig(examples=100_000, judge_cpu_s=0.5)
    with Sandbox(config) as box:
        report = box.check(SUM, CARD)
    assert (report.stage, report.rule) == ("properties", "isolation.time")


@pytest.mark.parametrize(
    "rest",
    ["torch.fmod(agent_qs[:, :1], 2.0) * 0", "(state[:, :1].abs() + 1.0) ** (0 * agent_qs[:, 1:])"],
)
def test_a_sandbox_for_graphs_alone_judges_as_the_other_does(
    rest: str, warm_sandbox: Sandbox
) -> None:
    """Gradients of some operations are written in Python, which torch imports at the first one."""
    source = f"def f(agent_qs, state):\n    return agent_qs.amin(1, True) + {rest}\n"
    first = warm_sandbox.check(source, CARD)
    assert first.graph is not None, first.feedback
    with Sandbox(warm_sandbox.config, export=False) as box:
        again = box.check_graph(ungated(first.graph), CARD, GateConfig())
    assert (again.verdict, again.igm) == (first.verdict, first.igm)


def test_a_lone_surrogate_is_quoted_as_text_that_can_be_written(warm_sandbox: Sandbox) -> None:
    report = warm_sandbox.check(
        "def tfcaf(agent_qs, state):\n    x = {}['\ud800']\n    return agent_qs.sum(1, True) * x\n",
        CARD,
    )
    assert report.rule == "export.error"
    assert "\\ud800" in report.feedback
    report.feedback.encode()


@pytest.mark.parametrize(
    ("q_tot", "why"),
    [
        ("torch.round(agent_qs).sum(1, keepdim=True)", "only in steps"),
        ("state.sum(1, keepdim=True)", "no agent's Q ever changes q_tot"),
    ],
)
def test_a_q_tot_of_steps_is_not_said_to_be_constant(
    q_tot: str, why: str, warm_sandbox: Sandbox
) -> None:
    report = warm_sandbox.check(f"def tfcaf(agent_qs, state):\n    return {q_tot}\n", CARD)
    assert report.rule == "properties.someone_credited"
    assert why in report.feedback


def test_an_integer_that_a_float_overflows_is_named_as_a_reason(warm_sandbox: Sandbox) -> None:
    source = (
        "def tfcaf(agent_qs, state):\n    k = (agent_qs * 1e30).int()\n"
        "    return agent_qs.sum(1, keepdim=True) + (k > 5).float().sum(1, keepdim=True)\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert report.rule == "export.evidence"
    assert "an integer that cannot hold it" in report.feedback


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("torch.log(1 + torch.exp(q.clamp(-20, 20)))", "log(1 + exp(x))"),
        ("torch.sign(q) * torch.log1p(q.abs())", "sign(x) * log1p(x.abs())"),
        ("q / (1 + q.abs())", "x / (1 + x.abs())"),
        ("F.softsign(q)", "x / (1 + x.abs())"),
        ("q * (1 - torch.softmax(100 * state, dim=1))", "1 - torch.softmax(x, dim=1)"),
    ],
)
def test_what_has_a_form_that_is_proved_is_told_it(
    warm_sandbox: Sandbox, value: str, form: str
) -> None:
    def checked(value: str) -> CheckReport:
        body = f"    q = agent_qs\n    return ({value}).sum(1, True)\n"
        source = f"def tfcaf(agent_qs, state):\n{body}"
        return warm_sandbox.check(source, load_card("matrix/climbing"))

    refused = checked(value)
    assert not refused.accepted
    assert form in refused.feedback
    proved = next(proved for _, named, proved in PROVED_FORMS if named.startswith(form))
    assert proved in refused.feedback
    name, factor = ("(100 * state)", "q * ") if "softmax" in form else ("q", "")
    assert checked(factor + re.sub(r"\bx\b", name, proved)).accepted


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("1 / (1 + state.abs().masked_fill(state > 1, float('inf')))", "large number instead"),
        ("state / (state.amax(1, True) - state.amin(1, True) + 1e-6)", "(high - low).clamp("),
    ],
)
def test_why_no_bound_is_found_is_told(warm_sandbox: Sandbox, weight: str, said: str) -> None:
    report = warm_sandbox.check(f"def tfcaf(state):\n    return {weight}, 0.0\n", CARD)
    assert not report.accepted
    assert said in report.feedback
