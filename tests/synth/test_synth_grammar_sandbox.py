"""How far programs under the grammar get: those of the strict flavour are accepted."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import synth_grammar_walks as walks

from models.protocol import ChatRequest, Constraint, Message
from models.transformers_local import TransformersModel
from prompts.cards import TaskCard, load_card
from sandbox.checker import Sandbox
from sandbox.policy import check_source
from synth.grammar import STRICT, GrammarLimits, program_grammar
from tests.models.tiny_model import build_tiny_model

pytestmark = pytest.mark.long

ASKED = [Message("user", "Write a credit function.")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersModel]:
    model = TransformersModel("tiny", build_tiny_model(tmp_path_factory.mktemp("tiny")))
    yield model
    model.close()


def _strict_programs(card: TaskCard, count: int) -> list[str]:
    start = walks.matcher(program_grammar(card, limits=STRICT))
    rng = random.Random(5)
    return [walks.walk(start, rng, budget=10**9) for _ in range(count)]


@pytest.mark.parametrize("task", ["matrix/climbing", "mpe/spread-3"])
def test_random_strict_programs_are_accepted(task: str, warm_sandbox: Sandbox) -> None:
    card = load_card(task)
    for source in _strict_programs(card, 6):
        report = warm_sandbox.check(source, card)
        assert report.verdict == "accepted", f"{source}\n{report.feedback}"
        assert report.finite == "proved"
        assert report.igm in ("proved", "by-gate", "proved-over-reals")


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["matrix/climbing-3p", "mpe/spread-6", "mpe/adversary", "lbf/15x15-4p-3f-2s", "mpe/tag"]
)
def test_hardly_a_random_strict_program_is_refused(task: str, warm_sandbox: Sandbox) -> None:
    card = load_card(task)
    reports = [warm_sandbox.check(source, card) for source in _strict_programs(card, 40)]
    accepted = sum(r.verdict == "accepted" for r in reports)
    assert accepted >= 38, [r.feedback for r in reports if r.verdict != "accepted"]


def test_a_model_that_knows_nothing_writes_functions_that_are_accepted(
    tiny: TransformersModel, warm_sandbox: Sandbox
) -> None:
    card = load_card("matrix/climbing")
    asked = Constraint("grammar", program_grammar(card, limits=STRICT))
    for reply in tiny.complete(ChatRequest(ASKED, n=2, seed=3, max_tokens=1600, constraint=asked)):
        assert (reply.finish_reason, reply.violation) == ("stop", "")
        assert warm_sandbox.check(reply.text, card).verdict == "accepted"


@pytest.mark.slow
def test_what_a_model_that_knows_nothing_ends_in_the_free_language_passes_the_policy(
    tiny: TransformersModel,
) -> None:
    card = load_card("matrix/climbing")
    limits = GrammarLimits(statements=2, depth=1, helpers=0, constants=1, identifier=8, comment=0)
    asked = Constraint("grammar", program_grammar(card, limits=limits))
    replies = tiny.complete(ChatRequest(ASKED, n=6, seed=1, max_tokens=2000, constraint=asked))
    assert all(r.violation == "" for r in replies)
    ended = [r for r in replies if r.finish_reason == "stop"]
    assert ended
    for reply in ended:
        check_source(reply.text, {"last_action": "[B, 2 agents]"})


def test_the_same_seed_writes_the_same_program(tiny: TransformersModel) -> None:
    asked = Constraint("grammar", program_grammar(load_card("mpe/spread-3"), limits=STRICT))
    first = tiny.complete(ChatRequest(ASKED, n=2, seed=9, max_tokens=1600, constraint=asked))
    again = tiny.complete(ChatRequest(ASKED, n=1, seed=9, max_tokens=1600, constraint=asked))
    assert again[0].text == first[0].text


def test_the_free_flavour_is_small_enough_to_be_sent_along() -> None:
    card = load_card("football/3-vs-1")
    assert len(program_grammar(card, limits=GrammarLimits())) < 60_000
    assert len(program_grammar(card, limits=STRICT)) < 80_000
