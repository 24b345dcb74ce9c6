"""The models of a search: the coder, and the language model that evaluates, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from models.begun import BegunModel
from models.protocol import ChatModel, Completion, HoldsDevice, ModelError
from models.replay import ReplayModel
from prompts.cards import TaskCard
from prompts.views import state_views
from synth.config import SynthConfig

_ASKS = ("llm", "llm+measured")
"""Evaluators that ask a language model."""

_BEGIN = "```python\ndef tfcaf("
_MOST_NAMES = 8
"""Parameters that a begun reply may have, beyond which the model chooses them itself."""
_ANEW = ("```", "def ", "import ", "<think>")


def begun(coder: ChatModel, config: SynthConfig, card: TaskCard) -> ChatModel:
    """The coder, its replies begun for it where the settings say so."""
    if not config.begin_reply or not coder.is_llm:
        return coder
    return BegunModel(coder, beginning(card), _ANEW)


def beginning(card: TaskCard) -> str:
    """A reply's beginning: the function's head, and what it has to return."""
    names = list(state_views(card))
    if not 0 < len(names) <= _MOST_NAMES:
        return _BEGIN
    returned = f"weights [B, {card.n_agents}] and bias [B, 1], from the state alone"
    return f"{_BEGIN}{', '.join(names)}):\n    # {returned}: return weights, bias"


Setting = Literal["coder", "evaluator_model"]


@dataclass(frozen=True)
class Participants:
    """The coder and the evaluator of one search."""

    coder: ChatModel
    evaluator: ChatModel | None
    """The language model that evaluates; may be the coder itself."""
    evaluator_kind: str
    """``synth.evaluator``."""

    @classmethod
    def configured(
        cls, config: SynthConfig, card: TaskCard, make: Callable[[Setting], ChatModel]
    ) -> Participants:
        """The models that the settings name.

        Args:
            config: of the search.
            card: of its task.
            make: opens the model that a setting names.

        Raises:
            ModelError: a program writer is asked for what takes a language model; or ``make`` does.
        """
        coder = make("coder")
        if config.constraint != "none" and not coder.is_llm:
            raise ModelError(
                f"synth.constraint={config.constraint}: {coder.name} is no language model and"
                " writes by its own grammar; leave it out, or choose a language model as coder"
                " (`qllm models`)"
            )
        writer = begun(coder, config, card)
        if config.evaluator not in _ASKS:
            return cls(writer, None, config.evaluator)
        if config.evaluator_model in ("auto", coder.name) and coder.is_llm:
            return cls(writer, coder, config.evaluator)
        evaluator = make("evaluator_model")
        if not evaluator.is_llm:
            raise ModelError(
                f"synth.evaluator={config.evaluator} asks a language model, and {evaluator.name} is"
                " none: register one (`qllm models add`), or use synth.evaluator=measured"
            )
        return cls(writer, evaluator, config.evaluator)

    @classmethod
    def recorded(
        cls, document: Mapping[str, Any], replies: Mapping[str, Sequence[Completion]]
    ) -> Participants:
        """Stand-ins that answer from a record and nothing else.

        Args:
            document: of the recorded search (`document`).
            replies: by request.
        """
        own, other = document["coder"], document.get("evaluator") or {"kind": "measured"}
        coder = ReplayModel(replies, name=own["name"], is_llm=own["is_llm"])
        evaluator = ReplayModel(replies, name=other["model"]) if "model" in other else None
        return cls(coder, evaluator, other["kind"])

    def resumed(self, replies: Mapping[str, Sequence[Completion]]) -> Participants:
        """The same models, asked only for what a record does not hold.

        Args:
            replies: of earlier attempts, by request.
        """
        coder = ReplayModel(replies, wrapped=self.coder)
        evaluator: ChatModel | None = None
        if self.evaluator is self.coder:
            evaluator = coder
        elif self.evaluator is not None:
            evaluator = ReplayModel(replies, wrapped=self.evaluator)
        return Participants(coder, evaluator, self.evaluator_kind)

    @property
    def models(self) -> tuple[ChatModel, ...]:
        """Each model once."""
        if self.evaluator is None or self.evaluator is self.coder:
            return (self.coder,)
        return (self.coder, self.evaluator)

    def document(self) -> dict[str, Any]:
        """Name and kind of each, for a store."""
        evaluator: dict[str, Any] = {"kind": self.evaluator_kind}
        if self.evaluator is not None:
            evaluator["model"] = self.evaluator.name
        return {
            "coder": {"name": self.coder.name, "is_llm": self.coder.is_llm},
            "evaluator": evaluator,
        }

    def lines(self) -> list[str]:
        """A line for each."""
        kind = "language model" if self.coder.is_llm else "random program writer, no LLM"
        lines = [f"coder: {self.coder.name} ({kind})"]
        if self.evaluator is not None:
            lines.append(f"evaluator: {self.evaluator.name} ({self.evaluator_kind})")
        return lines

    @contextmanager
    def device_free(self) -> Iterator[None]:
        """Let models that hold a GPU leave it to the trainings inside."""
        holders = [model for model in self.models if isinstance(model, HoldsDevice)]
        for model in holders:
            model.make_room()
        try:
            yield
        finally:
            for model in holders:
                model.come_back()

    def close(self) -> None:
        """Release the models."""
        for model in self.models:
            model.close()
