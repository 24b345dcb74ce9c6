"""The ``qllm`` command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from qllm import __version__
from qllm.cli import (
    bench,
    candidates,
    evaluate,
    explain,
    export,
    jobs,
    models,
    options,
    plans,
    play,
    show,
    store,
    sweep,
    synthesis,
    tui,
    work,
)
from qllm.cli.failures import DONE, guarded
from qllm.importing import import_in_turns
from qllm.output import echo_text, print_in_any_encoding

app = options.Commands(
    name="qllm",
    help="Credit assignment functions, written by a model or a sampler, proved and tested in a "
    "sandbox, trained in place of a mixing network.",
    epilog="Settings are given as key=value (docs/configuration.md lists them). "
    "Exit codes: 0 done, 1 failed or rejected after work began, 2 wrong use, 130 Ctrl-C, "
    "128+N stopped by signal N.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        print(f"qllm {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> int:
    if context.invoked_subcommand is not None:
        return DONE
    if tui.on_a_terminal():
        return tui.tui()
    echo_text(context.get_help())
    return DONE


_COMMANDS: tuple[Callable[..., int], ...] = (
    tui.tui,
    jobs.run,
    jobs.synth,
    jobs.check,
    jobs.verify,
    explain.explain,
    candidates.candidates,
    evaluate.evaluate,
    play.play,
    jobs.train,
    jobs.compare,
    sweep.sweep,
    plans.plan,
    plans.worker,
    plans.merge,
    show.tasks,
    show.runs,
    show.report,
    export.export,
    export.export_model,
    jobs.resume,
    jobs.stop,
    synthesis.approve,
    synthesis.reject,
    synthesis.replay,
    show.doctor,
)
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(models.app, name="models", help="Which language models there are; add and try them.")
app.add_typer(store.app, name="store", help="The run store: copy it into another database.")
app.add_typer(bench.app, name="bench", help="Measured speed on this machine.")
app.add_typer(synthesis.prompts)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code. Nothing but ``--debug`` shows a traceback."""
    options.given.home, options.given.debug = None, False
    work.arguments[:] = arguments
    print_in_any_encoding()
    import_in_turns()
    return guarded(
        lambda: app(args=list(arguments), prog_name="qllm", standalone_mode=False),
        debug=lambda: options.given.debug,
    )


def main() -> NoReturn:
    """Entry point of the ``qllm`` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
