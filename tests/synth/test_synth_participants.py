"""The models of a search, and how they make room for trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from models.protocol import ChatRequest, Completion, Message
from models.replay import ReplayModel
from synth.participants import Participants


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
