"""Who takes part in a search, and how models make room for trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from models.protocol import Completion, Message
from qllm.config.build import build_config
from qllm.jobs.casting import Cast


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

    def complete(self, messages: Sequence[Message], **_: Any) -> list[Completion]:
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


def config(device: str) -> Any:
    return build_config(overrides=[f"device={device}"], flags={"task": "matrix/climbing"})


def test_models_make_room_while_trainings_use_a_gpu_and_come_back() -> None:
    log: list[str] = []
    holder = Holder(log)
    cast = Cast(holder, holder, "llm", (holder,))
    with cast.out_of_the_way(config("cuda")):
        log.append("training")
    assert log == ["room", "training", "back"]


def test_they_come_back_after_a_training_that_failed() -> None:
    log: list[str] = []
    holder = Holder(log)
    cast = Cast(holder, None, "measured", (holder,))

    def train() -> None:
        with cast.out_of_the_way(config("cuda:0")):
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        train()
    assert log == ["room", "back"]


def test_on_a_cpu_nobody_moves() -> None:
    log: list[str] = []
    holder = Holder(log)
    with Cast(holder, None, "measured", (holder,)).out_of_the_way(config("cpu")):
        pass
    assert log == []


def test_a_model_for_both_roles_is_closed_once() -> None:
    log: list[str] = []
    holder, other = Holder(log), Holder(log)
    Cast(holder, holder, "llm").close()
    assert log == ["closed"]
    Cast(holder, other, "llm").close()
    assert log == ["closed"] * 3
