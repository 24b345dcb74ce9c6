"""The models of a search, and how they make room for trainings."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import pytest

from models.protocol import ChatRequest, Completion, Message
from models.replay import ReplayModel
from prompts.cards import load_card
from prompts.render import CoderPrompts
from prompts.views import state_views
from synth.config import SynthConfig
from synth.participants import Participants, beginning, form_asked_for


class Holder:
    """A model that holds a device."""

    name = "holder"
    is_llm = True
    context_tokens = None

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """None."""
        return 0

    def complete(self, request: ChatRequest, **_: Any) -> list[Completion]:
        """Nothing."""
        return []

    def make_room(self) -> None:
        """Let go of the device."""
        self.log.append("room")

    def come_back(self) -> None:
        """Take it again."""
        self.log.append("back")

    def close(self) -> None:
        """Let go for good."""
        self.log.append("closed")


def test_models_make_room_while_trainings_use_a_gpu_and_come_back() -> None:
    log: list[str] = []
    holder = Holder(log)
    with Participants(holder, holder, "llm").device_free():
        log.append("training")
    assert log == ["room", "training", "back"]


def test_they_make_room_behind_the_record_of_their_replies() -> None:
    log: list[str] = []
    with Participants(Holder(log), None, "measured").resumed({}).device_free():
        log.append("training")
    assert log == ["room", "training", "back"]
    with Participants(ReplayModel({}), None, "measured").device_free():
        pass


def test_they_come_back_after_a_training_that_failed() -> None:
    log: list[str] = []
    models = Participants(Holder(log), None, "measured")

    def train() -> None:
        with models.device_free():
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        train()
    assert log == ["room", "back"]


def test_a_model_for_both_roles_is_closed_once() -> None:
    log: list[str] = []
    holder, other = Holder(log), Holder(log)
    Participants(holder, holder, "llm").close()
    assert log == ["closed"]
    Participants(holder, other, "llm").close()
    assert log == ["closed"] * 3


@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-2s", "mpe/spread-3", "matrix/climbing"])
def test_a_begun_reply_asks_for_the_form_that_it_begins(task: str) -> None:
    card, config = load_card(task), SynthConfig(begin_reply=True)
    start = beginning(card)
    ast.parse(f"{start.removeprefix('```python')}\n    return 1.0, 0.0\n")
    assert all(name in start for name in state_views(card))
    assert form_asked_for(config, card) == "weights"
    system = CoderPrompts(card, names="", form="weights").system(gate="enforce")
    assert "agent_qs" not in system
    assert form_asked_for(SynthConfig(), card) == "any"
    assert form_asked_for(SynthConfig(begin_reply=True, constraint="grammar"), card) == "any"


def test_the_head_of_a_task_of_many_parts_is_left_to_the_model() -> None:
    card = load_card("football/3-vs-1")
    assert beginning(card).endswith("def tfcaf(")
    assert form_asked_for(SynthConfig(begin_reply=True), card) == "any"
