"""Commands that do the work. Everything heavy is imported inside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qllm.cli import options, work
from qllm.cli.executing import chosen, resuming, starting
from qllm.cli.failures import DONE, WRONG_USE, say
from qllm.output import echo

if TYPE_CHECKING:
    from qllm.config.commands import Command
    from qllm.config.tree import RunConfig


Gate = Annotated[
    Literal["enforce", "relax", "auto"] | None,
    options.option("--gate", "Monotonicity in the agents' Qs (default: enforce)."),
]
Coder = Annotated[
    str | None, options.option("--coder", "Who writes (`qllm models`; default: auto).")
]
Evaluator = Annotated[
    str | None,
    options.option(
        "--evaluator", "Who selects: measured (the default), llm, llm+measured or first."
    ),
]
Start = Annotated[
    list[str] | None,
    options.option(
        "--from", "Start from a candidate's number or a source file; may be given more than once."
    ),
]
Algo = Annotated[
    str | None,
    options.option(
        "--algo", "Such as qmix, mappo or riit+tfcaf (default: vdn); docs/algorithms/ has them all."
    ),
]
Algos = Annotated[
    str | None, options.option("--algos", "Such as vdn,qmix,qllm (default: vdn,qmix).")
]

Variants = Annotated[
    list[str] | None,
    options.option(
        "--variants",
        "Several settings of an algorithm instead, such as qmix:learner.lr=1e-3 "
        "fast=qmix:learner.lr=1e-2 vdn.",
    ),
]


def run(
    task: options.Task = None,
    settings: options.Settings = None,
    coder: Coder = None,
    evaluator: Evaluator = None,
    gate: Gate = None,
    start: Start = None,
    algos: Annotated[
        str | None, options.option("--algos", "What is trained (default: qllm,vdn).")
    ] = None,
    steps: options.Steps = None,
    seeds: options.Seeds = None,
    parallel: options.Parallel = None,
    executor: options.Executor = None,
    with_: options.With = None,
    go_on: options.Continue = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Synthesise, check, select, train against a baseline, evaluate, report."""
    return _start("run", locals())


def synth(
    task: options.Task = None,
    settings: options.Settings = None,
    coder: Coder = None,
    evaluator: Evaluator = None,
    gate: Gate = None,
    start: Start = None,
    parallel: options.Parallel = None,
    executor: options.Executor = None,
    with_: options.With = None,
    go_on: options.Continue = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Write, check and pilot candidates, and stop after the selection."""
    return _start("synth", locals())


def check(
    paths: Annotated[
        list[Path],
        options.argument(
            "Source files or folders of them; settings as key=value, too.", metavar="FILE..."
        ),
    ],
    task: Annotated[str, options.option("--task", "The task it is for.")],
    gate: Gate = None,
    html: Annotated[
        Path | None,
        options.option(
            "--html",
            "Also write a page of all verdicts.",
            parser=options.file_to_write,
            metavar="<path>",
        ),
    ] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="Write certificates beside accepted sources.")
    ] = False,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Put source files through the sandbox; exit code 0 where all are accepted, else 1.

    Starting it takes seconds, each file after that well under one: give many files, or a folder,
    in one call.
    """
    words = [str(path) for path in paths]
    settings = [word for word in words if _is_setting(word)]
    flags: dict[str, Any] = {"gate.mode": gate}
    settled = work.configuration(task, settings, config, reader="check", **flags)
    from qllm.cli.checking import check_files

    files = [Path(word) for word in words if not _is_setting(word)]
    return check_files(files, settled, json=json, html=html, certify=certify)


def verify(
    file: Annotated[Path, options.argument("A certificate (.tfcaf.json).")],
    settings: options.Settings = None,
    task: Annotated[
        str | None,
        options.option("--task", "Its task or card (default: the one that the file names)."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Prove and test a certificate's function anew; exit code 1 if one of its claims fails."""
    from qllm.cli.checking import verify_file

    return verify_file(file, task, settings, json=json)


def _is_setting(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return (
        bool(equals)
        and all(part.isidentifier() for part in key.split("."))
        and (not Path(word).exists())
    )


def train(
    task: options.Task = None,
    settings: options.Settings = None,
    algo: Algo = None,
    tfcaf: options.Tfcaf = None,
    init_from: options.InitFrom = None,
    gate: Gate = None,
    steps: options.Steps = None,
    seeds: options.Seeds = None,
    parallel: options.Parallel = None,
    executor: options.Executor = None,
    with_: options.With = None,
    go_on: options.Continue = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Train one algorithm with one or several seeds."""
    return _start("train", locals())


def compare(
    task: options.Task = None,
    settings: options.Settings = None,
    algos: Algos = None,
    variants: Variants = None,
    tfcaf: options.Tfcaf = None,
    init_from: options.InitFrom = None,
    gate: Gate = None,
    steps: options.Steps = None,
    seeds: options.Seeds = None,
    parallel: options.Parallel = None,
    executor: options.Executor = None,
    with_: options.With = None,
    go_on: options.Continue = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Train several algorithms with the same seeds and settings, or variants of them."""
    return _start("compare", locals())


_SETTINGS = {
    "coder": "synth.coder",
    "evaluator": "synth.evaluator",
    "gate": "gate.mode",
    "start": "synth.start",
    "algo": "algorithm",
    "algos": "algorithms",
    "variants": "variants",
    "tfcaf": "tfcaf",
    "init_from": "init_from",
    "steps": "steps",
    "seeds": "seeds",
    "parallel": "parallel",
}
"""The setting behind each option of the commands above."""


def _words_apart(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a comparison with its words told apart: of those behind ``--variants`` the
    command line gives the option only the first."""
    if not options.get("variants"):
        return options
    from qllm.config.variants import is_variant

    words = [word for word in (options["task"], *(options["settings"] or [])) if word is not None]
    found = [word for word in words if is_variant(word)]
    task, *settings = [word for word in words if word not in found] or [None]
    variants = [*options["variants"], *found]
    return {**options, "task": task, "settings": settings, "variants": variants}


def settled(command: Command, options: Mapping[str, Any]) -> RunConfig:
    """The configuration of a command from its options, by the names of their parameters.

    Raises:
        UsageError: it cannot be used.
    """
    options = _words_apart(options)
    flags = {
        setting: None if options[name] == [] else options[name]
        for name, setting in _SETTINGS.items()
        if name in options
    }
    task, settings, file = options["task"], options["settings"], options["config"]
    return work.configuration(task, settings, file, command=command, **flags)


def _start(command: Command, options: Mapping[str, Any]) -> int:
    """Begin a run, or show its settings; returns the exit code.

    Args:
        options: its options by the names of its parameters.
    """
    config = settled(command, options)
    if options["dry_run"]:
        return work.show_settings(config, json=options["json"])
    choice = chosen(options["executor"], options["with_"])
    job = starting(command, config, choice, go_on=options["go_on"])
    return work.do(job, json=options["json"], display=options["display"])


def resume(
    run: options.RunId,
    parallel: options.Parallel = None,
    executor: options.Executor = None,
    with_: options.With = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Go on with an unfinished run; what has finished is kept."""
    work.require_store()
    job = resuming(run, parallel, chosen(executor, with_))
    return work.do(job, json=json, display=display)


def stop(
    run: options.RunId,
    json: options.Json = False,
) -> int:
    """Ask a running job to stop; it saves a checkpoint and can be resumed."""
    from qllm.jobs import commands
    from qllm.store.store import open_store

    work.require_store()
    with open_store(options.given.home) as store:
        answer, words = commands.stop(store, run)
    if json:
        work.print_json({"run": run, "answer": answer, "message": words})
    elif answer in ("stopped", "asked"):
        echo(words)
    if answer in ("stopped", "asked"):
        return DONE
    say(words)
    return WRONG_USE
