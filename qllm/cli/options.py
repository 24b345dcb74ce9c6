"""Options that several commands share. Nothing heavy is imported here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.display import DisplayKind

if TYPE_CHECKING:
    from marl.trained import Which


@dataclass
class Globals:
    """Options that may stand before or after the command."""

    home: Path | None = None
    debug: bool = False


given = Globals()
"""Filled while the command line is read; reset by every call of ``main``."""


def option(name: str, about: str, **more: Any) -> Any:
    """An option without Typer's note on its default: its help names it, if of interest."""
    return typer.Option(name, help=about, show_default=False, **more)


def argument(about: str, **more: Any) -> Any:
    """An argument, likewise."""
    return typer.Argument(help=about, show_default=False, **more)


Home = Annotated[
    Path | None, option("--home", "Folder of the runs and their database ($QLLM_HOME, else runs).")
]
Debug = Annotated[bool, option("--debug", "Show tracebacks.")]


def _note(*, home: Home = None, debug: Debug = False) -> None:
    given.home, given.debug = home or given.home, debug or given.debug


def _with_given(work: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(work)
    def command(*, home: Path | None, debug: bool, **values: Any) -> int:
        _note(home=home, debug=debug)
        return work(**values)

    signatures = (inspect.signature(function, eval_str=True) for function in (work, _note))
    parameters = [one for signature in signatures for one in signature.parameters.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


class Commands(typer.Typer):
    """A group of commands, each of which also has ``--home`` and ``--debug``: see `given`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(rich_markup_mode=None, **settings)  # without markup --help is fast

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a function; it is called with its own options only."""
        return _registering(super().command(name, **settings))

    def callback(self, **settings: Any) -> Callable[..., Any]:
        """Register what precedes every command, as `command` does."""
        return _registering(super().callback(**settings))


def _registering(register: Callable[..., Any]) -> Callable[..., Any]:
    def registered(work: Callable[..., int]) -> Callable[..., int]:
        register(_with_given(work))
        return work

    return registered


Json = Annotated[bool, option("--json", "Print one JSON document on stdout.")]
Display = Annotated[
    DisplayKind | None,
    option(
        "--display", "How progress is shown on stderr (default: rich on a terminal, else plain)."
    ),
]
Config = Annotated[Path | None, option("--config", "YAML file with settings.")]


def whole(text: str | int) -> int:
    """An option's count as people type it: ``2M``, ``20k``, ``1e6``."""
    from qllm.units import typed_number

    number = text if isinstance(text, int) else typed_number(text)
    if not isinstance(number, int):
        raise typer.BadParameter(f"'{text}' is no whole number, such as 20000, 20k or 2M")
    return number


Seeds = Annotated[str | None, option("--seeds", "Seeds, such as 0,1,2 or 0-4.")]
Steps = Annotated[
    int | None,
    option(
        "--steps",
        "Environment steps per training, such as 20000, 20k or 2M.",
        parser=whole,
        metavar="INTEGER",
    ),
]
Parallel = Annotated[
    int | None,
    option(
        "--parallel",
        "Trainings at once, each in a process of its own (default: 1).",
        min=1,
        max=1024,
    ),
]
Executor = Annotated[
    str | None,
    option(
        "--executor",
        "Where pilots and trainings are done: local, processes, submitit or ray "
        "(docs/clusters.md).",
    ),
]
With = Annotated[
    list[str] | None,
    option("--with", "The executor's own option as KEY=VALUE; may be given more than once."),
]
Tfcaf = Annotated[
    str | None,
    option(
        "--tfcaf",
        "Credit function of qllm or NAME+tfcaf: a source, a .tfcaf.json certificate, or a "
        "candidate's number.",
    ),
]
InitFrom = Annotated[
    str | None,
    option(
        "--init-from",
        "Begin with the networks of another run: RUN, RUN@best or RUN@STEP (docs/trained.md).",
    ),
]
Continue = Annotated[
    bool,
    option("--continue", "Go on where the same command stood last, or begin where it never ran."),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        "Print every setting as it would be, preset and task included, and start nothing.",
    ),
]
Task = Annotated[
    str | None,
    argument(
        "A task such as matrix/climbing (`qllm tasks` lists them), or a card's file; "
        "optional where --config names it."
    ),
]
Settings = Annotated[list[str] | None, argument("Settings as key=value (docs/configuration.md).")]


def run_number(text: str | int) -> int:
    """The id of a run that is named by its number: ``7``, or ``7.2`` for its second training."""
    from qllm.store.numbers import run_id_of

    found = text if isinstance(text, int) else run_id_of(text)
    if found is None:
        raise typer.BadParameter(f"'{text}' is no run's number, such as 7 or 7.2")
    return found


def file_to_write(text: str | Path) -> Path:
    """A path that is no folder."""
    path = Path(text)
    if path.is_dir():
        raise typer.BadParameter(f"'{text}' is a folder: give the file to write")
    return path


def checkpoint(text: str) -> Which:
    """Which checkpoint of a training: ``newest``, ``best``, or a step such as ``20k``."""
    from qllm.units import checkpoint_named

    found = checkpoint_named(text)
    if found is None:
        raise typer.BadParameter(
            f"'{text}' is no checkpoint: newest, best (by mean return), or a step such as 20k"
        )
    return found


Checkpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        metavar="newest|best|STEP",
        help="Which networks: the newest, those of the best evaluation, or after so many steps.",
    ),
]
EpisodeSeed = Annotated[int, typer.Option("--seed", help="Of the episode.", min=0)]
RunId = Annotated[
    int,
    typer.Argument(
        help="The run's number (`qllm runs`), such as 7, or 7.2 for its second training.",
        parser=run_number,
    ),
]
