"""Whatever a coder replies or a certificate holds, a check ends in a verdict with a reason."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from prompts.cards import load_card
from sandbox.certificate import CertificateError, load_tfcaf, save_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import GateConfig, SandboxConfig
from sandbox.gate import ungated
from synth.programs.odds import Odds
from synth.programs.writer import write_program

pytestmark = pytest.mark.long

CARDS = [load_card(name) for name in ("matrix/climbing", "lbf/8x8-2p-2f-coop-2s", "mpe/spread-3")]
EVERYDAY, SLOW = 30, 2_000

TOKEN = re.compile(r"\w+|[^\w\s]|\s+")
SPICE = (
    "0", "-1", "1e38", "2**70", "None", "...", "'a'", "[]", "()", "[[agent_qs]]", "state.shape",
    "state.shape[0]", "state.shape[0] / 3.0", "agent_qs[:0]", "state[:, :0]", "state.long()",
    "agent_qs.bool()", "(state.long() // 0)", "(state.long() % -1)", "torch.zeros(0)",
    "lambda x: x", "state.t()", "agent_qs.sum()", "float('nan')", "1j", "b''", "not state",
    "f(agent_qs, state)",
    "*state", "**state", "state if 1 else 2", "[x for x in state]", "state.mean(0)",
    "torch.arange(state.shape[0])", "agent_qs.log()", "agent_qs.double()", "state.half()",
    "torch.sort(agent_qs, 0)[0]", "1 / (agent_qs - agent_qs)",
)  # fmt: skip


def broken_program(seed: int) -> str:
    """A sampler's program with a few tokens taken out, doubled, exchanged or put in."""
    rng = random.Random(seed)
    card = CARDS[seed % len(CARDS)]
    tokens = TOKEN.findall(write_program(card, rng, Odds()).source)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(5):
            case 0:
                del tokens[at]
            case 1:
                tokens[at] = tokens[other]
            case 2:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                names = [k for k, token in enumerate(tokens) if token.isidentifier()]
                tokens[rng.choice(names)] = rng.choice(SPICE)
            case _:
                tokens.insert(at, rng.choice(SPICE))
    return "".join(tokens)


def require_verdicts(sandbox: Sandbox, seeds: range) -> int:
    """Check broken programs; returns how many were accepted for all that."""
    accepted = 0
    for seed in seeds:
        source = broken_program(seed)
        report = sandbox.check(source, CARDS[seed % len(CARDS)])
        if report.accepted:
            accepted += 1
            assert report.graph is not None, source
        else:
            assert report.rule, source
            assert report.feedback, source
            # A reason that its author can act on, and not a death or a fault of ours.
            assert report.rule not in ("isolation.died", "graph.error"), (source, report.feedback)
    return accepted


def test_a_broken_program_gets_a_verdict(warm_sandbox: Sandbox) -> None:
    assert 0 < require_verdicts(warm_sandbox, range(EVERYDAY)) < EVERYDAY


@pytest.mark.slow
def test_thousands_of_broken_programs_get_verdicts() -> None:
    with Sandbox(SandboxConfig(examples=20)) as sandbox:
        assert 0 < require_verdicts(sandbox, range(EVERYDAY, SLOW)) < SLOW


def test_a_broken_certificate_is_refused_or_holds(warm_sandbox: Sandbox, tmp_path: Path) -> None:
    card = CARDS[0]
    report = warm_sandbox.check("def f(agent_qs, state):\n    return agent_qs.sum(1, True)\n", card)
    text = save_tfcaf(tmp_path, report, card).read_text(encoding="utf-8")
    rng = random.Random(0)
    refused: list[str] = []
    for number in range(40):
        data = bytearray(text.encode())
        for _ in range(rng.choice((1, 3))):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 40)]
                case _:
                    data[at:at] = rng.choice((b"0", b"-", b"[", b'"', b"9e99", b"null"))
        path = tmp_path / f"broken-{number}.tfcaf.json"
        path.write_bytes(bytes(data))
        try:
            again = load_tfcaf(path, card, warm_sandbox)
        except CertificateError as error:
            refused.append(str(error))
        else:
            assert again.graph_hash == json.loads(text)["graph_hash"]
    assert len(refused) > 20
    assert not [said for said in refused if str(tmp_path) not in said or "\n" in said]


def test_a_fault_of_our_own_is_a_rejection_too(
    warm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def f(agent_qs, state):\n    return agent_qs.sum(1, True)\n"
    accepted = warm_sandbox.check(source, CARDS[0])
    assert accepted.graph is not None

    def stumble(*args: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr("sandbox.checker.require_contract", stumble)
    for report in (
        warm_sandbox.check(source, CARDS[0]),
        warm_sandbox.check_graph(ungated(accepted.graph), CARDS[0], GateConfig()),
    ):
        assert (report.verdict, report.rule) == ("rejected", "graph.error")
        assert "failed within QLLM itself: KeyError" in report.feedback
