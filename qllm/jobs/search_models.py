"""Open the models of a search, each behind the record of its earlier replies."""

from __future__ import annotations

from models.entries import ModelEntry
from models.protocol import ChatModel, Completion, Say
from models.replay import whole_requests
from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.jobs.models import opened, registry
from qllm.jobs.session import Session
from qllm.store.store import Store
from synth.coders import make_coder
from synth.participants import Participants, Setting


def open_coder(
    config: RunConfig, card: TaskCard, say: Say | None = None, setting: Setting = "coder"
) -> ChatModel:
    """The model that a setting of the search names; its server starts with the first request.

    Raises:
        ModelError: there is no such model, or it cannot be opened.
    """
    name = getattr(config.synth, setting)

    def make(entry: ModelEntry) -> ChatModel:
        return opened(entry, config.models, say)

    return make_coder(registry(), name, card, make, f"synth.{setting}")


def open_models(config: RunConfig, card: TaskCard, say: Say | None = None) -> Participants:
    """The configured models.

    Raises:
        ModelError: as `open_coder`; or a program writer is asked for what takes a language model.
    """
    return Participants.configured(
        config.synth, card, lambda setting: open_coder(config, card, say, setting)
    )


def check_models(config: RunConfig, card: TaskCard) -> None:
    """Check that the configured models are available, without starting any.

    Raises:
        ModelError: as `open_models`.
    """
    open_models(config, card).close()


def resumed_models(
    session: Session, config: RunConfig, card: TaskCard, run_id: int
) -> Participants:
    """The configured models, preceded by the recorded replies of earlier attempts.

    Raises:
        ModelError: as `open_models`.
    """
    recorded = _recorded(session.store, run_id)
    return open_models(config, card, session.display.note).resumed(recorded)


def recorded_models(store: Store, run_id: int) -> Participants:
    """Stand-ins that give the recorded replies of a run only."""
    return Participants.recorded(store.runs.get(run_id).inputs or {}, _recorded(store, run_id))


def _recorded(store: Store, run_id: int) -> dict[str, tuple[Completion, ...]]:
    """The replies that earlier attempts of a run recorded, by request."""
    replies: list[tuple[str, int, int, Completion]] = []
    for message in store.synthesis.traffic(run_id):
        request = message.request or {}
        if not {"key", "index", "n", "finish_reason"} <= request.keys():
            continue  # damaged: the model is asked again
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
