"""The coder's prompts: templates of a few lines each, filled from the task card.

The templates are the ``*.md.j2`` files in ``prompts/coder/`` (Jinja2, strict about undefined
names). A user overrides any of them by putting a file of the same name into a folder. Nothing of
ours is imported here but the card: the list of allowed names and the sandbox's feedback are handed
in as text. Text that came from outside (prose, feedback, source) is only ever a template's data.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jinja2

from prompts.cards import StateSlice, TaskCard

CODER_DIR = Path(__file__).parent / "coder"

_SHOWN_VALUES = 12
"""Values of a slice that a sample row shows before it is cut; rows are there to give an idea."""


class PromptError(ValueError):
    """A template that cannot be used; the message says which, where, and what to do."""


@dataclass(frozen=True)
class SampleRow:
    """A state that really occurred, and the team reward of the step that followed."""

    state: tuple[float, ...]
    """[state_dim]"""
    reward: float


class CoderPrompts:
    """Renders every message that a coder is sent for one task.

    Args:
        card: The task.
        names: The names a function may use, as text (from the sandbox's list).
        gate: Whether monotonicity in the agents' values is enforced.
        gate_function: Name of the function that ``enforce`` applies to weights.
        rows: Real states and rewards to show; may be empty.
        folder: Where the user's own templates lie; a file that is not there is ours.

    Raises:
        PromptError: the folder does not exist, holds a template that nothing would use, or a row
            does not fit the card.
    """

    def __init__(
        self,
        card: TaskCard,
        *,
        names: str,
        gate: Literal["enforce", "relax"] = "enforce",
        gate_function: str = "abs",
        rows: Sequence[SampleRow] = (),
        folder: Path | None = None,
    ) -> None:
        self._card, self._names = card, names.strip()
        self._gate, self._gate_function = gate, gate_function
        for row in rows:
            if len(row.state) != card.state_dim:
                raise PromptError(
                    f"a sample row has {len(row.state)} values where the state of {card.name} "
                    f"has {card.state_dim}"
                )
        self._rows = [_row_in_words(card, row) for row in rows]
        self._templates = _environment(folder)

    def system(self) -> str:
        """Role, contract, language and numerical advice."""
        return self._render(
            "system.md.j2",
            names=self._names,
            gate=self._gate,
            gate_function=self._gate_function,
        )

    def first(self, *, lessons: str = "") -> str:
        """The task in words, its state as a table, and why earlier candidates were refused."""
        return self._render("first.md.j2", rows=self._rows, lessons=lessons)

    def repair(self, *, feedback: str) -> str:
        """The sandbox's feedback on a refused reply, and the request to correct it."""
        return self._render("repair.md.j2", feedback=feedback)

    def duplicate(self, *, earlier: str) -> str:
        """The reply computes what candidate ``earlier`` computes: ask for something else."""
        return self._render("duplicate.md.j2", earlier=earlier)

    def refine(self, *, source: str, result: str, advice: str, lessons: str = "") -> str:
        """The outcome of a round and the request for better functions.

        In the conversation this follows the chosen reply itself, so our template does not repeat
        ``source``; a user's own may.
        """
        return self._render(
            "refine.md.j2", source=source, result=result, advice=advice, lessons=lessons
        )

    def _render(self, name: str, **values: object) -> str:
        try:
            template = self._templates.get_template(name)
            return template.render(card=self._card, **values).strip() + "\n"
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"prompt '{name}', line {error.lineno}: {error.message}") from None
        except jinja2.TemplateError as error:
            known = ", ".join(sorted({"card", *values}))
            raise PromptError(f"prompt '{name}': {error}; it is given {known}") from None


def _environment(folder: Path | None) -> jinja2.Environment:
    loaders: list[jinja2.BaseLoader] = [jinja2.FileSystemLoader(CODER_DIR)]
    if folder is not None:
        _check_folder(folder)
        loaders.insert(0, jinja2.FileSystemLoader(folder))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # prompts are plain text, not HTML
    )
    environment.filters["number"] = _number
    environment.globals.update(columns=_columns, shape=_shape, special=_special, meaning=_meaning)
    return environment


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise PromptError(f"no folder of prompts at '{folder}': create it or leave it out")
    ours = sorted(path.name for path in CODER_DIR.glob("*.md.j2"))
    for path in sorted(folder.glob("*.j2")):
        if path.name not in ours:
            near = difflib.get_close_matches(path.name, ours, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ours)}"
            raise PromptError(f"prompt '{path}' has a name that nothing uses: {hint}")


def _number(x: float) -> str:
    return f"{x:g}"


def _columns(s: StateSlice, at: int) -> str:
    return str(at) if s.size == 1 else f"{at}:{at + s.size}"


def _shape(s: StateSlice) -> str:
    """The shape with the agents' axis marked, such as ``2 (agents) x 3``."""
    return " x ".join(
        f"{n} (agents)" if axis == s.agent_axis else str(n) for axis, n in enumerate(s.shape)
    )


def _special(s: StateSlice) -> str:
    if not s.sentinels:
        return "-"
    return _cell(f"{', '.join(map(_number, s.sentinels))}: {s.sentinel_meaning}")


def _meaning(s: StateSlice) -> str:
    return _cell(f"(unused, always 0: do not read it) {s.meaning}" if s.unused else s.meaning)


def _cell(text: str) -> str:
    """Text on one line, without the bar that would end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _row_in_words(card: TaskCard, row: SampleRow) -> str:
    parts = []
    for s, at in card.offsets():
        if s.unused:
            continue
        values = [_number(round(x, 3)) for x in row.state[at : at + s.size]]
        cut = [*values[:_SHOWN_VALUES], "..."] if len(values) > _SHOWN_VALUES else values
        parts.append(f"{s.name} = {cut[0] if s.size == 1 else '[' + ', '.join(cut) + ']'}")
    return f"{'; '.join(parts)} -> reward {_number(round(row.reward, 3))}"
