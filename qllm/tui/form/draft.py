"""What was typed into a form, which is there again whenever the form is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from qllm.tui.form.fields import Command, Prefilled

FIRST_TASK = "matrix/climbing"


@dataclass
class Draft:
    """A form as it stands. Settings that its command has no use for wait for one that has."""

    command: Command = "run"
    task: str = FIRST_TASK
    """As on the command line; empty where none is chosen."""
    values: dict[str, str] = field(default_factory=dict)
    """What was changed, by path."""

    @staticmethod
    def like(filled: Prefilled) -> Draft:
        """The form of a run."""
        return Draft(filled.command, filled.task, dict(filled.values))

    @property
    def untouched(self) -> bool:
        """Whether it says nothing but the defaults."""
        return self == Draft()

    def set(self, path: str, text: str) -> None:
        """Change a setting; empty text gives it its default back."""
        if text:
            self.values[path] = text
        else:
            self.values.pop(path, None)


class Drafts:
    """The forms of one app: one for what is new, one for each run that another is to be like."""

    def __init__(self) -> None:
        self._kept: dict[int | None, Draft] = {}

    def kept(self, like: int | None) -> Draft | None:
        """The form as it was left."""
        return self._kept.get(like)

    def keep(self, like: int | None, draft: Draft) -> None:
        """From now on this is the form; it is kept as it changes."""
        self._kept[like] = draft

    def drop(self, like: int | None) -> None:
        """Forget the form."""
        self._kept.pop(like, None)


_drafts: WeakKeyDictionary[object, Drafts] = WeakKeyDictionary()


def drafts_of(app: object) -> Drafts:
    """The forms of an app, which are kept as long as it is open."""
    return _drafts.setdefault(app, Drafts())
