"""Shared parts of commands: configuration, display, session, output."""

from __future__ import annotations

import contextlib
import json as json_module
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qllm.cli.failures import DONE, FAILED, INTERRUPTED, say
from qllm.cli.options import given
from qllm.display import DisplayKind
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from qllm.config.commands import Command
    from qllm.config.tree import RunConfig
    from qllm.jobs.session import Outcome, Session
    from qllm.store.store import Store

arguments: list[str] = []
"""The words of this command line, for the record of the run; set by ``main``."""


def print_json(document: object) -> int:
    """One JSON document on stdout, in which null stands for numbers that JSON does not have.

    Returns:
        The exit code of a command that is done.
    """
    from qllm.json_text import finite

    text = json_module.dumps(finite(document), indent=2, allow_nan=False)
    print(text.replace("\x7f", "\\u007f"))  # the one control that JSON leaves as it is
    return DONE


def answer(document: object, *lines: object, json: bool) -> int:
    """The result of a command as a JSON document or as lines; returns its exit code."""
    if json:
        return print_json(document)
    echo(*lines)
    return DONE


@contextmanager
def stdout_kept_for_json(json: bool) -> Iterator[None]:
    """Redirect prints of the work to stderr where stdout is for a document."""
    if not json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def split_task(task: str | None, settings: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Tell the task from the settings: with --config, the first word may be a setting."""
    words = list(settings or [])
    if task is not None and "=" in task and not task.endswith((".yaml", ".yml")):
        return None, [task, *words]
    return task, words


def configuration(
    task: str | None,
    settings: Sequence[str] | None,
    config: Path | None,
    *,
    command: Command | None = None,
    reader: str | None = None,
    **flags: Any,
) -> RunConfig:
    """The configuration of a command, its task known to exist.

    Args:
        command: one that trains or searches; what it does not read is refused.
        reader: another command that is to refuse what it does not read.

    Raises:
        UsageError: it cannot be used.
    """
    from qllm.config.build import build_config
    from qllm.config.commands import require_read, require_read_by, trained_by
    from qllm.jobs.tasks import task_card

    name, overrides = split_task(task, settings)
    settled = build_config(
        file=config,
        overrides=overrides,
        flags={"task": name, **flags},
        **({} if command is None else trained_by(command)),
    )
    task_card(settled)
    if command is not None:
        require_read(command, overrides, flags, settled.trained)
    if reader is not None:
        require_read_by(reader, overrides)
    return settled


def show_settings(config: RunConfig, *, json: bool) -> int:
    """The settings of a job, as a file for ``--config``; its task must be playable."""
    from qllm.config.build import to_yaml
    from qllm.jobs.tasks import playable_card

    playable_card(config)
    if json:
        print_json(config.model_dump(mode="json"))
    else:
        echo_text(to_yaml(config).rstrip())
    return DONE


def do(
    job: Callable[[Session], Outcome],
    *,
    json: bool,
    display: DisplayKind | None,
    home: Path | None = None,
    again: str = "",
    show: Callable[[Mapping[str, Any]], None] | None = None,
) -> int:
    """Run a job (from ``qllm.jobs``) and show its outcome; returns the exit code.

    Args:
        home: of its store, where that is not what ``--home`` says.
        again: what goes on with it, where that is not ``qllm resume``.
        show: what people read at the end besides the result table.
    """
    from qllm.display import make_display
    from qllm.jobs.session import open_session

    began: list[int] = []
    with make_display(display, json=json) as screen:
        try:
            with (
                stdout_kept_for_json(json),
                open_session(home or given.home, screen, arguments) as session,
            ):
                began = session.began
                outcome = job(session)
        except KeyboardInterrupt:
            screen.close()
            if began:
                resumes = again or f"`qllm resume {began[0]}`"
                say(f"interrupted: {resumes} goes on from the last checkpoint")
            raise
        except Exception as error:
            from qllm.errors import UsageError, WorkError
            from qllm.store.errors import StoreError

            if not began or not isinstance(error, WorkError | UsageError | StoreError):
                raise
            # Before a run began this would have been a wrong use; now work ends because of it.
            hint = f"{again or f'`qllm resume {began[0]}`'} goes on from what was kept"
            raise WorkError(f"{error} ({hint})", began[0]) from error
        document = outcome.document
        if document.get("rows"):
            screen.table(document["rows"], title=f"{document['task']} (run {outcome.run_id})")
    if json:
        print_json(document)
    else:
        (show or _show)(document)
    if outcome.document.get("missing"):
        goes_on = f"{outcome.error}; merging again adds what has finished by then"
    else:
        goes_on = f"{again or f'`qllm resume {outcome.run_id}`'} goes on"
    what = f"sweep '{document['sweep']}'" if "sweep" in document else f"run {outcome.run_id}"
    return ended(outcome, what, goes_on)


def _show(document: Mapping[str, Any]) -> None:
    """Print the lines below the result table."""
    if "selected" in document:
        from qllm.text import choice_word

        chosen = document["selected"]
        words = f"{document['accepted']} of {document['candidates']} candidates accepted"
        if chosen is not None:
            words += (
                f"; {choice_word(document['decided'])} {chosen['place']},"
                f" {chosen['signature']} form"
                f" (--tfcaf {chosen['candidate']} trains with it)"
            )
        echo(words, document["reason"], *_search_in_words(document))
    if "replay_of" in document and document["status"] != "stopped":
        echo(*_replay_in_words(document))
    if document.get("curves_path"):
        echo(f"curves: {document['curves_path']}")
    if "report_path" in document and Path(document["report_path"]).exists():
        echo(f"report: {document['report_path']}")


def _search_in_words(document: Mapping[str, Any]) -> list[str]:
    """Stages that ended replies, the most promising candidate of a failed search, and times."""
    from qllm.units import duration

    lines = []
    if document["stages"]:
        counts = ", ".join(f"{stage} {n}" for stage, n in document["stages"].items())
        under = document["constraint"]
        freely = "written freely" if under == "none" else f"written under {under}"
        freely = freely if document["coder"]["is_llm"] else "of a program writer"
        lines.append(f"replies {freely}, by the stage that ended them: {counts}")
    promising = document["most_promising"]
    if promising is not None:
        lines.append(
            f"furthest: candidate {promising['candidate']} ({promising['place']}), refused by"
            f" {promising['rule'] or promising['stage']}"
        )
    seconds = document["seconds"]
    parts = [
        f"{duration(seconds[part])} {words}"
        for part, words in _PARTS.items()
        if seconds.get(part, 0) >= 0.05
    ]
    each = f", {document['pilot_updates']:,} updates each" if document["pilot_updates"] else ""
    lines.append(f"time: {', '.join(parts)}; pilots {document['pilot_steps']:,} steps{each}")
    return lines


def _replay_in_words(document: Mapping[str, Any]) -> list[str]:
    """Result of a replay: the same, or the differences."""
    run, differences = document["replay_of"], document["differences"]
    if not differences:
        return [
            f"replay of run {run}: all {document['candidates']} candidates, their verdicts and"
            " hashes, the selection and the gate are the same"
        ]
    return [f"replay of run {run} differs:", *(f"  {line}" for line in differences)]


_PARTS = {
    "model": "waiting for replies",
    "check": "checking after them",
    "evaluate": "evaluating",
    "person": "waiting for a person",
}


@contextmanager
def reading() -> Iterator[Store]:
    """The run store, for reading; damaged rows that were read are named on stderr at the end."""
    from qllm.store.store import open_store

    with open_store(given.home, readonly=True) as store:
        yield store
        say_damage(store)


def say_damage(store: Store) -> None:
    """Name the damaged rows that a command has read, on stderr."""
    for line in store.database.damage_in_words():
        say(line)


def require_store() -> None:
    """Require an existing store.

    Raises:
        StoreMissingError: there is none.
    """
    from qllm.store.store import open_store

    open_store(given.home, readonly=True).close()


def ended(outcome: Outcome, what: str, goes_on: str) -> int:
    """Say how a job ended, where it did not finish; returns the exit code."""
    if outcome.status == "finished":
        return DONE
    if outcome.status == "failed":
        say(f"{what} failed: {outcome.error}")
        return FAILED
    say(f"stopped; what was finished is kept: {goes_on}")
    if outcome.signal is None:  # `qllm stop`, from elsewhere
        return FAILED
    return INTERRUPTED if outcome.signal == signal.SIGINT else 128 + outcome.signal
