"""Who takes part in a synthesis: the coder, and the language model that evaluates, if any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.protocol import ChatModel, Completion, HoldsDevice
from models.replay import ReplayModel, whole_requests
from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.coders import make_coder
from qllm.jobs.session import Session
from qllm.store.store import Store

_ASKS = ("llm", "llm+measured")
"""Evaluators that ask a language model."""


@dataclass(frozen=True)
class Cast:
    """The models of one synthesis, each behind the record of what it said already."""

    coder: ChatModel
    evaluator: ChatModel | None
    """The language model that evaluates; may be the coder itself."""
    evaluator_kind: str
    """``synth.evaluator``."""
    behind: tuple[ChatModel, ...] = ()
    """The models themselves, each once."""

    @classmethod
    def check(cls, config: RunConfig, card: TaskCard) -> None:
        """See to it that the configured models can be had, without starting any.

        Raises:
            UsageError: there is no such model, or a sampler is asked for what takes an LLM.
        """
        coder, evaluator = _models(config, card, None)
        for model in (coder, evaluator):
            if model is not None:
                model.close()

    @classmethod
    def open(cls, session: Session, config: RunConfig, card: TaskCard, run_id: int) -> Cast:
        """The configured models, started where they have to be.

        Raises:
            UsageError: as for ``check``.
            ModelError: one cannot be started.
        """
        coder, evaluator = _models(config, card, session)
        recorded = _recorded(session.store, run_id)
        replay = ReplayModel(recorded, wrapped=coder)
        other = (
            replay
            if evaluator is coder
            else ReplayModel(recorded, wrapped=evaluator)
            if evaluator is not None
            else None
        )
        behind = (coder,) if evaluator in (coder, None) else (coder, evaluator)
        return cls(replay, other, config.synth.evaluator, tuple(m for m in behind if m))

    def told(self) -> dict[str, Any]:
        """What the run store keeps of it."""
        evaluator: dict[str, Any] = {"kind": self.evaluator_kind}
        if self.evaluator is not None:
            evaluator["model"] = self.evaluator.name
        return {
            "coder": {"name": self.coder.name, "is_llm": self.coder.is_llm},
            "evaluator": evaluator,
        }

    def in_words(self) -> list[str]:
        """A line for each."""
        kind = "language model" if self.coder.is_llm else "random program writer, no LLM"
        lines = [f"coder: {self.coder.name} ({kind})"]
        if self.evaluator is not None:
            lines.append(f"evaluator: {self.evaluator.name} ({self.evaluator_kind})")
        return lines

    @contextmanager
    def out_of_the_way(self, config: RunConfig) -> Iterator[None]:
        """Give a GPU to the trainings inside, where models hold it."""
        holders = [m for m in self.behind if isinstance(m, HoldsDevice)] if _on_gpu(config) else []
        for model in holders:
            model.make_room()
        try:
            yield
        finally:
            for model in holders:
                model.come_back()

    def close(self) -> None:
        """Let go of the models."""
        self.coder.close()
        if self.evaluator is not None and self.evaluator is not self.coder:
            self.evaluator.close()


def recorded_cast(store: Store, run_id: int) -> Cast:
    """Stand-ins that answer what was recorded of a run, and nothing else."""
    told = store.runs.get(run_id).inputs or {}
    recorded = _recorded(store, run_id)
    coder = ReplayModel(recorded, name=told["coder"]["name"], is_llm=told["coder"]["is_llm"])
    evaluator = told.get("evaluator") or {"kind": "measured"}
    judge = ReplayModel(recorded, name=evaluator["model"]) if "model" in evaluator else None
    return Cast(coder, judge, evaluator["kind"])


def _models(
    config: RunConfig, card: TaskCard, session: Session | None
) -> tuple[ChatModel, ChatModel | None]:
    """Coder and evaluating model; with a session they are told what to say while starting."""
    synth = config.synth

    def make(setting: str) -> ChatModel:
        say = session.display.note if session is not None else None
        name = getattr(synth, setting)
        return make_coder(name, card, config.models, say, setting=f"synth.{setting}")

    coder = make("coder")
    if synth.constraint != "none" and not coder.is_llm:
        raise UsageError(
            f"synth.constraint={synth.constraint}: {coder.name} is no language model and writes by"
            " its own grammar; leave it out, or choose a language model as coder (`qllm models`)"
        )
    if synth.evaluator not in _ASKS:
        return coder, None
    if synth.evaluator_model in ("auto", coder.name) and coder.is_llm:
        return coder, coder
    evaluator = make("evaluator_model")
    if not evaluator.is_llm:
        raise UsageError(
            f"synth.evaluator={synth.evaluator} asks a language model, and {evaluator.name} is "
            "none: register one (`qllm models add`), or use synth.evaluator=measured"
        )
    return coder, evaluator


def _recorded(store: Store, run_id: int) -> dict[str, tuple[Completion, ...]]:
    """The replies that earlier attempts of a run recorded, by request."""
    replies: list[tuple[str, int, int, Completion]] = []
    for message in store.synthesis.traffic(run_id):
        request = message.request or {}
        if not {"key", "index", "n", "finish_reason"} <= request.keys():
            continue  # not as it was written; it is asked for again
        completion = Completion(
            text=message.content,
            model=message.model or "unknown",
            seed=message.seed,
            prompt_tokens=message.prompt_tokens or 0,
            completion_tokens=message.completion_tokens or 0,
            latency_s=message.latency_s or 0.0,
            finish_reason=request["finish_reason"],
            note=request.get("note", ""),
            violation=request.get("violation", ""),
        )
        replies.append((request["key"], request["index"], request["n"], completion))
    return whole_requests(replies)


def _on_gpu(config: RunConfig) -> bool:
    if config.device.startswith("cuda"):
        return True
    if config.device != "auto":
        return False
    import torch

    return torch.cuda.is_available()
