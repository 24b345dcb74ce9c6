"""The prompts of coder and evaluator, filled from the task card.

The templates are the ``*.md.j2`` files in ``prompts/coder/``, ``prompts/evaluator/`` and
``prompts/shared/``. A user overrides any of them by putting a file of the same name into a folder
of the same name. Nothing of ours is imported here but the card: the list of allowed names and the
sandbox's feedback are handed in as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prompts.cards import TaskCard
from prompts.templates import PromptError, Templates, number

__all__ = ["CoderPrompts", "EvaluatorPrompts", "PromptError", "SampleRow", "ShownFunction"]

GateMode = Literal["enforce", "relax"]

_SHOWN_VALUES = 12
"""Values of a slice that a sample row shows before it is cut; rows are there to give an idea."""


@dataclass(frozen=True)
class SampleRow:
    """A state that really occurred, and the team reward of the step that followed."""

    state: tuple[float, ...]
    """[state_dim]"""
    reward: float


@dataclass(frozen=True)
class ShownFunction:
    """An accepted function as the evaluator is shown it."""

    source: str
    facts: str
    """What the sandbox knows of it: its form, and what is proved of it."""
    result: str = ""
    """What was measured of it, in words; empty where nothing was."""
    incumbent: bool = False
    """Whether earlier rounds selected it."""


class CoderPrompts:
    """Renders every message that a coder is sent for one task.

    Args:
        card: The task.
        names: The names a function may use, as text (from the sandbox's list).
        gate_function: Name of the function that ``enforce`` applies to weights.
        rows: Real states and rewards to show; may be empty.
        bare: Whether a reply is the code alone, as under a grammar, and not a sentence and a block.
        guided: Whether it is held to the guided grammar, which has its own language.
        folder: Where the user's own templates lie, in ``coder/`` and ``shared/``.

    Raises:
        PromptError: the folder does not exist, holds a template that nothing would use, or a row
            does not fit the card.
    """

    def __init__(
        self,
        card: TaskCard,
        *,
        names: str,
        gate_function: str = "abs",
        rows: Sequence[SampleRow] = (),
        bare: bool = False,
        guided: bool = False,
        folder: Path | None = None,
    ) -> None:
        self._guided = guided
        self._names, self._gate_function, self._bare = names.strip(), gate_function, bare
        self._rows = rows_in_words(card, rows)
        self._templates = Templates("coder", card, folder)

    def system(self, *, gate: GateMode) -> str:
        """Role, contract, language and numerical advice.

        Args:
            gate: Whether monotonicity in the agents' values is enforced.
        """
        return self._templates.fill(
            "system.md.j2",
            names=self._names,
            gate=gate,
            gate_function=self._gate_function,
            bare=self._bare,
            guided=self._guided,
        )

    def first(self, *, lessons: str = "", rows: bool = True) -> str:
        """The task in words, its state as a table, and why earlier candidates were refused.

        Args:
            lessons: Why earlier candidates were refused; may be empty.
            rows: Whether to show real states and rewards; they are left out where the model's
                context is short.
        """
        shown = self._rows if rows else []
        return self._templates.fill(
            "first.md.j2", rows=shown, lessons=lessons, bare=self._bare, guided=self._guided
        )

    def repair(self, *, feedback: str) -> str:
        """The sandbox's feedback on a refused reply, and the request to correct it."""
        return self._templates.fill("repair.md.j2", feedback=feedback, bare=self._bare)

    def duplicate(self, *, earlier: str) -> str:
        """The reply computes what candidate ``earlier`` computes: ask for something else."""
        return self._templates.fill("duplicate.md.j2", earlier=earlier, bare=self._bare)

    def refine(self, *, source: str, result: str, advice: str, lessons: str = "") -> str:
        """The outcome of a round and the request for better functions.

        In the conversation this follows the chosen reply itself, so our template does not repeat
        ``source``; a user's own may.
        """
        return self._templates.fill(
            "refine.md.j2",
            source=source,
            result=result,
            advice=advice,
            lessons=lessons,
            bare=self._bare,
        )


class EvaluatorPrompts:
    """Renders every message that an evaluator is sent for one task.

    Args:
        card: The task.
        rows: Real states and rewards to show; may be empty.
        folder: Where the user's own templates lie, in ``evaluator/`` and ``shared/``.

    Raises:
        PromptError: as for :class:`CoderPrompts`.
    """

    def __init__(
        self, card: TaskCard, *, rows: Sequence[SampleRow] = (), folder: Path | None = None
    ) -> None:
        self._rows = rows_in_words(card, rows)
        self._templates = Templates("evaluator", card, folder)

    def system(self) -> str:
        """Role, and how to answer."""
        return self._templates.fill("system.md.j2")

    def select(self, functions: Sequence[ShownFunction], *, rows: bool = True) -> str:
        """The task, the functions, and the request to choose one by its number, from 1."""
        shown = self._rows if rows else []
        return self._templates.fill("select.md.j2", functions=functions, rows=shown)

    def advise(self, function: ShownFunction, *, lessons: str, rows: bool = True) -> str:
        """The task, the selected function, and the request for one piece of advice."""
        shown = self._rows if rows else []
        return self._templates.fill("advise.md.j2", function=function, lessons=lessons, rows=shown)

    def gate(self, *, rows: bool = True) -> str:
        """The task, and the question whether monotonicity should be enforced."""
        shown = self._rows if rows else []
        return self._templates.fill("gate.md.j2", rows=shown)

    def again(self, *, problem: str) -> str:
        """The reply cannot be used: say why and ask again."""
        return self._templates.fill("again.md.j2", problem=problem)


def rows_in_words(card: TaskCard, rows: Sequence[SampleRow]) -> list[str]:
    """Each row on one line, its columns named.

    Raises:
        PromptError: a row has another number of columns than the card's state.
    """
    for row in rows:
        if len(row.state) != card.state_dim:
            raise PromptError(
                f"a sample row has {len(row.state)} values where the state of {card.name} "
                f"has {card.state_dim}"
            )
    return [_row_in_words(card, row) for row in rows]


def _row_in_words(card: TaskCard, row: SampleRow) -> str:
    parts = []
    for s, at in card.offsets():
        if s.unused:
            continue
        values = [number(round(x, 3)) for x in row.state[at : at + s.size]]
        cut = [*values[:_SHOWN_VALUES], "..."] if len(values) > _SHOWN_VALUES else values
        parts.append(f"{s.name} = {cut[0] if s.size == 1 else '[' + ', '.join(cut) + ']'}")
    return f"{'; '.join(parts)} -> reward {number(round(row.reward, 3))}"
