"""The words for what the sandbox finds: complete, and the same for every display."""

from __future__ import annotations

from typing import get_args

import pytest

from prompts.cards import load_card
from qllm.facts import phrases
from sandbox.checker import Sandbox
from sandbox.claims import Finite, Igm, Status
from sandbox.config import GateMode

SOURCE = "def tfcaf(state):\n    return 1.0 + state[:, 0:2] ** 2, state[:, 0:1]\n"


def test_every_claim_and_status_has_words() -> None:
    assert phrases.IGM.keys() == set(get_args(Igm))
    assert phrases.FINITE.keys() == set(get_args(Finite))
    assert phrases.STRENGTH.keys() == set(get_args(Status))
    assert phrases.GATE.keys() == set(get_args(GateMode))


def test_every_property_of_a_check_has_words(warm_sandbox: Sandbox) -> None:
    report = warm_sandbox.check(SOURCE, load_card("matrix/climbing"))
    assert report.accepted
    assert {p.name for p in report.properties} <= phrases.PROPERTY.keys()


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([(0.5, 2.0), (0.5, 2.0)], "every agent: 0.5 to 2"),
        ([(None, 1.23456), (0.0, None)], "agent 0: at most 1.235; agent 1: at least 0"),
        ([(None, None)], "every agent: no proved bounds"),
        ([], ""),
    ],
)
def test_weights_say_only_what_is_proved(
    bounds: list[tuple[float | None, float | None]], words: str
) -> None:
    assert phrases.weights(bounds) == words
