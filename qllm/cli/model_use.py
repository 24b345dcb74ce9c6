"""Commands of ``qllm models`` that run a model: check, serve, stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options
from qllm.cli.failures import DONE, FAILED, say
from qllm.cli.work import answer, print_json, stdout_kept_for_json
from qllm.output import echo

if TYPE_CHECKING:
    from models.config import ModelsConfig
    from models.entries import ModelEntry

Name = Annotated[str, typer.Argument(help="The model's name (`qllm models` lists them).")]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Also ask a server on another machine.")
]
Python = Annotated[
    str | None,
    options.option(
        "--python",
        "Python of the environment that vLLM is installed in, such as ~/vllm/bin/python.",
    ),
]


def check(
    name: Name,
    python: Python = None,
    allow_remote: AllowRemote = False,
    json: options.Json = False,
) -> int:
    """Ask for real replies: do constraints hold, how fast, is a seeded reply repeated?"""
    from qllm.jobs.models import check_model

    with stdout_kept_for_json(json):
        found = check_model(registered(name), _config(python, allow_remote), say)
    if json:
        print_json(found)
    else:
        _show_check(found)
    return DONE if found["ok"] else FAILED


def _show_check(found: dict[str, Any]) -> None:
    from qllm.text import one_line
    from qllm.units import duration

    for c in found["checks"]:
        if c["honoured"] is None:
            echo(f"- {c['constraint']:<8} not tried: {c['said']}")
            continue
        mark = "✓" if c["honoured"] else "✗"
        speed = f"{c['tokens_per_s']:.0f} tokens/s" if c["tokens_per_s"] else "no time measured"
        told = "the constraint held" if c["honoured"] else f"IGNORED: {c['said']}"
        cut = ", cut by the token limit" if c["cut"] else ""
        tokens = f"{c['completion_tokens']} tokens in {duration(c['seconds'])}, {speed}"
        echo(f"{mark} {c['constraint']:<8} {told}{cut}; {tokens}")
        echo(f"             {one_line(c['text'], 80)}")
    echo(f"- repeats  {_repeats(found['repeats'])}")
    context = found["context_tokens"]
    known = f"{context:,} tokens" if context else "not known"
    echo(f"context: {known}; ready after {duration(found['ready_s'])}")
    if not found["ok"]:
        echo(
            "replies are checked again on our side, so nothing unsound gets through, but a server"
            " that ignores constraints wastes most of its replies"
        )


def _repeats(found: dict[str, Any]) -> str:
    """Whether a seeded reply was repeated, in words."""

    def said(repeated: bool | None, at: int | None) -> str:
        if repeated is None:
            return "not told, there was no text to compare"
        return "bit for bit" if repeated else f"no, from character {at} on"

    alone = said(found["alone"], found["alone_differs_at"])
    batch = said(found["batch"], found["batch_differs_at"])
    return (
        f"a seeded reply of {found['tokens']} tokens, asked again alone: {alone}; in a batch of"
        f" {found['batch_size']}: {batch}"
    )


def serve(
    name: Name,
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Stay until Ctrl-C, which ends the server."),
    ] = False,
    python: Python = None,
    json: options.Json = False,
) -> int:
    """Start a model's vLLM server, which goes on between runs; say where it is."""
    from qllm.jobs import models

    entry = registered(name)
    with stdout_kept_for_json(json):
        server = models.serve(entry, _config(python, False), say, foreground=foreground)
    found = models.server_document(entry) or {}
    if json:
        print_json({"name": name, "adopted": server.adopted, **found})
    else:
        echo(f"{name} {'was running already' if server.adopted else 'is served'} at {server.url}")
        echo(f"log: {server.log}")
        echo(f"key: in {found.get('key_file')}, which only you can read")
        end = "Ctrl-C" if foreground else f"`qllm models stop {name}`"
        echo(f"{end} ends it; runs that use {name} take this server")
        sys.stdout.flush()  # before it waits
    if foreground:
        models.stay(server)
    return DONE


def stop(
    name: Name,
    json: options.Json = False,
) -> int:
    """Stop a model's vLLM server, whoever started it."""
    from models.admin.servers import stop_server
    from models.entries import NAME
    from qllm.errors import UsageError
    from qllm.paths import server_dir

    if not NAME.fullmatch(name) or not server_dir(name).is_dir():
        entry = registered(name)
        if entry.backend != "vllm":
            raise UsageError(
                f"model '{name}' has no server of ours: its backend is {entry.backend}"
            )
    stopped = stop_server(name, server_dir(name))
    said = f"stopped the server of {name}" if stopped else f"no server of {name} runs"
    return answer({"name": name, "stopped": stopped}, said, json=json)


def registered(name: str) -> ModelEntry:
    """The model of this name.

    Raises:
        ModelError: there is none.
    """
    from qllm.jobs.models import registry

    return registry().get(name)


def _config(python: str | None, allow_remote: bool) -> ModelsConfig:
    from models.config import ModelsConfig

    return ModelsConfig(vllm_python=python, allow_remote=allow_remote)
