"""The offers of a form, as plain data, and the command line of a filled form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from qllm.config.commands import COMPARED, Command, reads

ABOUT: dict[Command, str] = {
    "run": "search for a credit function, then train",
    "synth": "search for a credit function only",
    "train": "train one algorithm",
    "compare": "train several algorithms alike",
}

STORY: dict[Command, str] = {
    "run": "A coder writes credit functions, the sandbox accepts or rejects each of them, short"
    " pilot trainings select one; it is then trained beside the other algorithms.",
    "synth": "A coder writes credit functions, the sandbox accepts or rejects each of them, short"
    " pilot trainings select one. Nothing is trained beyond the pilots.",
    "train": "Trains one algorithm on the task, once for each seed.",
    "compare": "Trains several algorithms on the task with the same seeds and settings, and sets"
    " their means side by side, with intervals and paired differences.",
}
"""What a command does, for new users."""

_SEARCH = ("synth.rounds", "synth.candidates", "synth.repairs", "synth.evaluator")
_PILOTS = ("synth.pilot_updates", "synth.pilot_seeds")
FIRST: dict[Command, tuple[str, ...]] = {
    "run": ("synth.coder", "steps", "algorithms", "seeds"),
    "synth": ("synth.coder", "synth.rounds", "synth.candidates", "gate.mode"),
    "train": ("algorithm", "steps", "seeds"),
    "compare": ("algorithms", "steps", "seeds"),
}
"""All that most people set, besides the task."""

MORE: dict[Command, tuple[str, ...]] = {
    "run": (*_SEARCH, *_PILOTS, "gate.mode", "parallel"),
    "synth": ("synth.repairs", "synth.evaluator", *_PILOTS, "synth.approve", "parallel"),
    "train": ("tfcaf", "gate.mode", "parallel"),
    "compare": ("tfcaf", "gate.mode", "parallel"),
}
"""Settings shown second; all others are found by search."""

SHORT = {
    "synth.coder": "who writes",
    "synth.rounds": "one after another",
    "synth.candidates": "in each round",
    "synth.repairs": "of a rejected reply",
    "synth.evaluator": "who selects",
    "synth.pilot_updates": "of each pilot",
    "synth.pilot_seeds": "pilots a function",
    "synth.approve": "who decides",
    "gate.mode": "of monotonicity",
    "steps": "of the environment",
    "seeds": "such as 0,1,2",
    "algorithms": "as qllm,vdn,qmix",
    "algorithm": "makes Q_tot of Qs",
    "tfcaf": "of algorithm qllm",
    "parallel": "trainings at once",
}
"""Short remarks beside a setting."""


@dataclass(frozen=True)
class Setting:
    """One setting, with its default as one would type it."""

    path: str
    kind: Literal["choice", "switch", "text"]
    default: str
    about: str
    values: str
    """What it may be, such as ``integer, at least 1``."""
    choices: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    """The algorithms or kinds of tasks that have it; empty where all do."""
    fits: bool = True
    """Whether the chosen task has it."""


@dataclass(frozen=True)
class Family:
    """The number in the names of a family of tasks."""

    name: str
    low: int
    high: int


@dataclass(frozen=True)
class Task:
    """A task that can be chosen. A family's ``name`` has its number in braces."""

    name: str
    title: str
    plays: bool
    """Whether there is an environment for it."""
    family: Family | None = None

    def called(self, number: str) -> str:
        """Its name, with a family's number in place."""
        return self.name if self.family is None else self.name.replace(self._hole, number.strip())

    @property
    def _hole(self) -> str:
        assert self.family is not None
        return "{" + self.family.name + "}"


@dataclass(frozen=True)
class Offer:
    """All that a form offers."""

    settings: tuple[Setting, ...]
    tasks: tuple[Task, ...]

    def setting(self, path: str) -> Setting | None:
        """The setting of this path."""
        return next((s for s in self.settings if s.path == path), None)

    def settings_of(self, paths: Iterable[str]) -> tuple[Setting, ...]:
        """The settings of these paths."""
        found = map(self.setting, paths)
        return tuple(setting for setting in found if setting is not None)

    def resolved(self, defaults: Mapping[str, str]) -> Offer:
        """The same with the defaults of a task and preset, as `Checked` has them."""
        known = (
            replace(
                s,
                default=defaults.get(s.path, s.default),
                fits=s.path in defaults or not (s.of and s.path.startswith("env.")),
            )
            for s in self.settings
        )
        return replace(self, settings=tuple(known))

    def _read(self, command: Command) -> Iterator[Setting]:
        """What a command and the chosen task have use for."""
        return (s for s in self.settings if s.fits and reads(command, s.path))

    def others(self, command: Command) -> tuple[Setting, ...]:
        """The rest of what a command reads."""
        shown = {*FIRST[command], *MORE[command]}
        return tuple(setting for setting in self._read(command) if setting.path not in shown)

    def found(self, command: Command, typed: str, values: Mapping[str, str]) -> tuple[Setting, ...]:
        """A command's settings with every typed word in their name, meaning, choices or value.

        Those whose names have all of the words come first.
        """
        words = typed.lower().split()

        def text(setting: Setting) -> str:
            value = values.get(setting.path) or default_of(setting, command)
            said = (setting.path, setting.about, setting.values, *setting.choices, value)
            return " ".join(said).lower()

        found = (s for s in self._read(command) if all(word in text(s) for word in words))
        return tuple(sorted(found, key=lambda s: any(word not in s.path for word in words)))

    def read_by(self, typed: str) -> tuple[Command, ...]:
        """The commands that read a setting which a search finds."""
        return tuple(command for command in FIRST if self.found(command, typed, {}))


@dataclass(frozen=True)
class Checked:
    """What the configuration says of a filled form."""

    problem: str
    """Error text of the command line; empty if it can be started."""
    yaml: str
    """The same settings as a file for ``--config``; empty where they are no YAML."""
    defaults: dict[str, str] = field(default_factory=dict)
    """Default values by path, for the form's task, preset and algorithm."""


FIRST_TASK = "matrix/climbing"


@dataclass
class Draft:
    """Contents of a form. Settings that the present command does not have are kept for others."""

    command: Command = "run"
    task: str = FIRST_TASK
    """As on the command line; empty where none is chosen."""
    values: dict[str, str] = field(default_factory=dict)
    """What was changed, by path."""

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


def default_of(setting: Setting, command: Command) -> str:
    """A setting's default for a command, as one would type it."""
    if setting.path == "algorithms":
        return ",".join(COMPARED.get(command, ()))
    return setting.default


def changed(
    offer: Offer, command: Command, values: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The settings that a command reads and that were changed, in the order of the offer."""
    out = []
    for setting in offer.settings:
        text = values.get(setting.path, "").strip()
        if text and setting.fits and reads(command, setting.path):
            out.append((setting.path, _typed(setting, text)))
    return tuple(out)


def words(command: Command, task: str, settings: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The command-line words after ``qllm`` of a filled form."""
    return (command, *([task] if task else []), *(f"{path}={text}" for path, text in settings))


def _typed(setting: Setting, text: str) -> str:
    """The text after ``=``. A list of texts may be typed with commas only."""
    if setting.values != "list of text" or text.startswith("["):
        return text
    quoted = (part.strip().replace("'", "''") for part in text.split(",") if part.strip())
    return "[" + ", ".join(f"'{part}'" for part in quoted) + "]"
