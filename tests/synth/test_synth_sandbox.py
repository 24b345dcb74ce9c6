"""The sampler and the loop with the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from synth_task_cards import lbf_like, spread_like

from models.protocol import ChatRequest, Message
from prompts.cards import TaskCard, load_card
from prompts.render import CoderPrompts
from sandbox.checker import Sandbox
from sandbox.config import GateConfig, SandboxConfig
from sandbox.names import names_for_prompt
from synth.config import SynthConfig
from synth.context import SearchContext
from synth.evaluator import FirstAccepted
from synth.loop import synthesise
from synth.sampler import Sampler

pytestmark = pytest.mark.long

GATE_RULES = ("properties.monotone", "properties.greedy_is_best")
ASK = [Message("user", "Write one function.")]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    torch.set_num_threads(1)
    with Sandbox(SandboxConfig(examples=10)) as opened:
        yield opened


@pytest.mark.parametrize(
    "card",
    [load_card("matrix/climbing"), lbf_like(), spread_like()],
    ids=lambda card: card.name,
)
def test_most_sampled_programs_are_accepted_and_the_rest_is_told_why(
    sandbox: Sandbox, card: TaskCard
) -> None:
    reports = [
        sandbox.check(r.text, card) for r in Sampler(card).complete(ChatRequest(ASK, n=5, seed=2))
    ]
    assert sum(r.accepted for r in reports) >= 3
    for report in reports:
        assert report.accepted or report.rule in (
            "properties.monotone",
            "properties.greedy_is_best",
        )
        assert report.accepted or "Q" in report.feedback
        assert report.code.startswith("def ")


def test_distinct_programs_have_distinct_graphs(sandbox: Sandbox) -> None:
    card = load_card("matrix/climbing")
    texts = Sampler(card).complete(ChatRequest(ASK, n=5, seed=3))
    reports = [sandbox.check(r.text, card) for r in texts]
    hashes = [r.graph_hash for r in reports if r.accepted]
    assert len(set(hashes)) == len(hashes)


def test_a_whole_search_ends_with_a_function_that_may_be_trained(sandbox: Sandbox) -> None:
    card = load_card("matrix/climbing")
    seen: list[Any] = []

    def search() -> Any:
        around = SearchContext(
            coder=Sampler(card),
            check=lambda reply, mode: sandbox.check(reply, card, GateConfig(mode=mode)),
            evaluator=FirstAccepted(),
            emit=seen.append,
            control=lambda: "continue",
            render=CoderPrompts(card, names=names_for_prompt()),
        )
        return synthesise(card, SynthConfig(rounds=2, candidates=1, repairs=1), around)

    result = search()
    assert result.status == "finished"
    assert result.selected is not None
    assert result.selected.report.graph is not None
    again = search()
    assert [c.source for c in again.candidates] == [c.source for c in result.candidates]
    assert [c.report.graph_hash for c in again.candidates] == [
        c.report.graph_hash for c in result.candidates
    ]
