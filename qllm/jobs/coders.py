"""Who writes candidates."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from models.protocol import ChatModel
from prompts.cards import TaskCard
from qllm.errors import UsageError
from synth.sampler import Sampler


@dataclass(frozen=True)
class CoderEntry:
    """A coder that can be chosen, as ``qllm models`` lists it."""

    name: str
    is_llm: bool
    about: str


SAMPLER = CoderEntry(
    "sampler", False, "random program writer embedded in QLLM; needs no model and is no LLM"
)


def list_coders() -> Sequence[CoderEntry]:
    """Every coder that ``synth.coder`` can name."""
    return (SAMPLER,)


def make_coder(name: str, card: TaskCard) -> ChatModel:
    """The coder of this name; ``auto`` is the sampler where no model is registered.

    Raises:
        UsageError: there is none.
    """
    names = [entry.name for entry in list_coders()]
    if name in ("auto", SAMPLER.name):
        return Sampler(card)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose auto or {', '.join(names)}"
    raise UsageError(f"synth.coder={name}: no such coder: {hint} (`qllm models` lists them)")
