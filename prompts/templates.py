"""Loading and filling prompt templates: ours, or a user's own in their place.

Templates are ``*.md.j2`` files (Jinja2, strict about undefined names). Text that came from outside
(prose, feedback, source) is only ever a template's data.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path

import jinja2

from prompts.cards import StateSlice, TaskCard
from prompts.views import StateView, state_views

PROMPTS_DIR = Path(__file__).parent
_SHOWN_PLACES = 3
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's control and format characters, and its line breaks besides ours."""


class PromptError(ValueError):
    """A template that cannot be used; the message says which, where, and what to do."""


class Templates:
    """The templates of one role, filled for one task.

    Args:
        role: Folder of our templates, ``coder`` or ``evaluator``.
        card: The task; every template is given it as ``card``.
        folder: Where the user's own templates lie, in folders of the same names as ours; a file
            that is not there is ours.

    Raises:
        PromptError: the folder does not exist, or holds a template that nothing would use.
    """

    def __init__(self, role: str, card: TaskCard, folder: Path | None = None) -> None:
        self._card = card
        self._templates = _environment(PROMPTS_DIR / role, folder)

    def fill(self, name: str, **values: object) -> str:
        """The text of one template, with a line break at its end.

        Raises:
            PromptError: the template is wrong, or uses a name that it is not given.
        """
        try:
            template = self._templates.get_template(name)
            return template.render(card=self._card, **values).strip() + "\n"
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"prompt '{name}', line {error.lineno}: {error.message}") from None
        except jinja2.TemplateError as error:
            known = ", ".join(sorted({"card", *values}))
            raise PromptError(f"prompt '{name}': {error}; it is given {known}") from None


def _environment(ours: Path, folder: Path | None) -> jinja2.Environment:
    shared = PROMPTS_DIR / "shared"
    loaders: list[jinja2.BaseLoader] = [jinja2.FileSystemLoader([ours, shared])]
    if folder is not None:
        check_folder(folder)
        loaders.insert(0, jinja2.FileSystemLoader([folder / ours.name, folder / "shared"]))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # prompts are plain text, not HTML
    )
    environment.filters.update(number=number, fenced=fenced)
    environment.globals.update(views=_views, columns=_columns, special=_special, meaning=_meaning)
    return environment


def check_folder(folder: Path) -> None:
    """See to it that every template of the user's is one that something uses.

    Raises:
        PromptError: one is not, or there is no such folder.
    """
    if not folder.is_dir():
        raise PromptError(f"no folder of prompts at '{folder}': create it or leave it out")
    for path in sorted(folder.rglob("*.j2")):
        name = path.relative_to(folder).as_posix()
        ours = sorted(p.relative_to(PROMPTS_DIR).as_posix() for p in PROMPTS_DIR.glob("*/*.j2"))
        if name not in ours:
            near = difflib.get_close_matches(name, ours, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ours)}"
            raise PromptError(f"prompt '{path}' has a name that nothing uses: {hint}")


def number(x: float) -> str:
    return f"{x:g}"


def fenced(source: str) -> str:
    """A source as a block of code, which nothing in it can end; control characters are left out."""
    lines = source.replace("\r\n", "\n").replace("\r", "\n")
    shown = "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) not in _UNSEEN)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}python\n{shown.strip()}\n{fence}"


def _views(card: TaskCard) -> list[StateView]:
    return list(state_views(card).values())


def _columns(view: StateView) -> str:
    """Where a view's members lie, such as ``0:2, 3:5``; the first few where there are many."""
    size = view.member.size
    places = [str(at) if size == 1 else f"{at}:{at + size}" for at in view.starts]
    cut = [*places[:_SHOWN_PLACES], "..."] if len(places) > _SHOWN_PLACES + 1 else places
    return ", ".join(cut)


def _special(s: StateSlice) -> str:
    if not s.sentinels:
        return "-"
    return _cell(f"{', '.join(map(number, s.sentinels))}: {s.sentinel_meaning}")


def _meaning(view: StateView) -> str:
    return _cell(view.meaning)


def _cell(text: str) -> str:
    """Text on one line, without the bar that would end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
