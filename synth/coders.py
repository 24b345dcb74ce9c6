"""The coders that a search can be given: the embedded sampler and the registered models."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.entries import ModelEntry
from models.protocol import ChatModel, ModelError
from models.registry import ModelRegistry
from prompts.cards import TaskCard
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


def list_coders(
    registry: ModelRegistry, is_llm: Callable[[ModelEntry], bool] = lambda entry: True
) -> Sequence[CoderEntry]:
    """Every coder that ``synth.coder`` can name: the sampler, then the registered models.

    Args:
        is_llm: whether a registered model is a language model; a plug-in's may be none.

    Raises:
        ModelError: the registry cannot be read.
    """
    entries = registry.entries()
    return (
        SAMPLER,
        *(CoderEntry(e.name, is_llm(e), e.where, e.backend, e.context_tokens) for e in entries),
    )


def chosen_coder(registry: ModelRegistry, name: str, setting: str = "synth.coder") -> str:
    """The coder that a name stands for: ``auto`` is the model that was registered first, or the
    sampler where none is.

    Args:
        registry: of the user's models.
        name: a registered model, ``sampler`` or ``auto``.
        setting: where the name was given, for errors.

    Raises:
        ModelError: there is no such coder.
    """
    names = [coder.name for coder in list_coders(registry)]
    if name == AUTO:
        return names[1] if len(names) > 1 else SAMPLER.name
    if name in names:
        return name
    raise ModelError(f"{setting}={name}: {_unknown(name, names)}")


def make_coder(
    registry: ModelRegistry,
    name: str,
    card: TaskCard,
    opened: Callable[[ModelEntry], ChatModel],
    setting: str = "synth.coder",
) -> ChatModel:
    """The coder of a name (see `chosen_coder`), for a task.

    Args:
        opened: makes the model behind an entry of the registry.

    Raises:
        ModelError: there is none, or it cannot be opened.
    """
    chosen = chosen_coder(registry, name, setting)
    return Sampler(card) if chosen == SAMPLER.name else opened(registry.get(chosen))


def _unknown(name: str, names: Sequence[str]) -> str:
    if "://" in name or "/" in name or Path(name).expanduser().is_dir():
        return (
            f"a model is chosen by its registered name: `qllm models add NAME {name}` registers"
            " it, then choose NAME"
        )
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose auto or {', '.join(names)}"
    return f"no such coder: {hint} (`qllm models` lists them)"
