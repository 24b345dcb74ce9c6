"""Coders of a search: the embedded sampler and the user's registered models."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.config import ModelsConfig
from models.opening import Say
from models.protocol import ChatModel, ModelError
from prompts.cards import TaskCard
from qllm.errors import UsageError
from qllm.jobs.models import opened, registry
from synth.sampler import Sampler

AUTO = "auto"


@dataclass(frozen=True)
class CoderEntry:
    """A coder that can be chosen, as ``qllm models`` lists it."""

    name: str
    is_llm: bool
    about: str
    backend: str = "sampler"
    context_tokens: int | None = None


SAMPLER = CoderEntry(
    "sampler", False, "random program writer embedded in QLLM; needs no model and is no LLM"
)


def list_coders() -> Sequence[CoderEntry]:
    """Every coder that ``synth.coder`` can name: the sampler, then the registered models.

    Raises:
        UsageError: the registry cannot be read.
    """
    try:
        entries = registry().entries()
    except ModelError as error:
        raise UsageError(str(error)) from None
    return (
        SAMPLER,
        *(CoderEntry(e.name, True, e.where, e.backend, e.context_tokens) for e in entries),
    )


def chosen_coder(name: str, setting: str = "synth.coder") -> str:
    """The coder that a name stands for: ``auto`` is the model that was registered first, or the
    sampler where none is.

    Raises:
        UsageError: there is no such coder.
    """
    names = [coder.name for coder in list_coders()]
    if name == AUTO:
        return names[1] if len(names) > 1 else SAMPLER.name
    if name in names:
        return name
    raise UsageError(f"{setting}={name}: {_unknown(name, names)}")


def make_coder(
    name: str,
    card: TaskCard,
    config: ModelsConfig | None = None,
    say: Say | None = None,
    *,
    setting: str = "synth.coder",
) -> ChatModel:
    """The coder of this name. A model's server starts with the first request, not here.

    Args:
        name: a registered model, ``sampler`` or ``auto`` (see `chosen_coder`).
        card: the task, which the sampler writes for.
        config: how models are run.
        say: told about slow steps, a line at a time.
        setting: where the name was given, for errors.

    Raises:
        UsageError: there is none, or its folder has changed, or its key is missing.
    """
    chosen = chosen_coder(name, setting)
    if chosen == SAMPLER.name:
        return Sampler(card)
    try:
        return opened(registry().get(chosen), config or ModelsConfig(), say)
    except ModelError as error:
        raise UsageError(str(error)) from None


def _unknown(name: str, names: Sequence[str]) -> str:
    if "://" in name or "/" in name or Path(name).expanduser().is_dir():
        return (
            f"a model is chosen by its registered name: `qllm models add NAME {name}` registers"
            " it, then choose NAME"
        )
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose auto or {', '.join(names)}"
    return f"no such coder: {hint} (`qllm models` lists them)"
