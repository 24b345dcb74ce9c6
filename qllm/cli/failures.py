"""From exceptions to one clear line on stderr and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import typer

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

_USAGE: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's base of everything that is wrong with a command line; it has no public name."""


def say(message: str) -> None:
    """Print one line on stderr, with control characters of untrusted text escaped."""
    from qllm.text import safe

    print(f"qllm: {safe(' '.join(message.split()))}", file=sys.stderr)


def _near_options(found: re.Match[str]) -> str:
    """The options that begin with the typed text, else the most similar ones."""
    import difflib

    known, typed = found[1].split(", "), found.string[: found.start()].rpartition(" ")[2]
    near = [name for name in known if name.startswith(typed)]
    near = near or difflib.get_close_matches(typed, known, n=2, cutoff=0.5) or known
    return f": did you mean {' or '.join(near)}?"


def _usage_line(error: Exception) -> str:
    """Typer's message in our form: ``No such option: --sed`` with near names and where to look."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = re.sub(r"\s*\(Possible options: (.*)\)", _near_options, message).rstrip(".")
    message = message.replace(". Did you mean", ": did you mean")
    # Option values are read by pydantic, whose words for them are meant for programmers.
    message = message.replace(": Value error, ", ": ").replace(": Input should be", ": must be")
    message = re.sub(r"must be a valid integer, .*", "must be a whole number", message)
    message = re.sub(r"must be a valid number, .*", "must be a number", message)
    if message.startswith("Missing argument"):
        message = message.replace("Missing argument ", "missing ").replace("'", "")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "qllm"
    return f"{message} (`{path} --help`)"


def _expected(error: BaseException) -> int | None:
    """The exit code of an error that a user can act on; None for any other."""
    # Looked up by module, since an error can only come from a module that has been imported.
    known = {
        ("qllm.errors", "UsageError"): WRONG_USE,
        ("qllm.errors", "WorkError"): FAILED,
        ("qllm.store.errors", "StoreError"): WRONG_USE,
        ("marl.errors", "SettingsError"): WRONG_USE,
        ("models.protocol", "ModelError"): WRONG_USE,
        ("prompts.cards", "CardError"): WRONG_USE,
        ("prompts.templates", "PromptError"): WRONG_USE,
        ("sandbox.checker", "SandboxUnavailable"): WRONG_USE,
    }
    for (module, name), code in known.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    return None


def guarded(work: Callable[[], object], *, debug: Callable[[], bool]) -> int:
    """Run a command line; returns its exit code and lets no traceback through unless asked.

    Args:
        work: returns an exit code, or anything else for "done".
        debug: whether ``--debug`` was given, known once the command line has been read.
    """
    try:
        result = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; that is no error of ours. Python
        # would complain again when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except typer.Exit as error:
        return int(error.exit_code)
    except typer.Abort:
        say("interrupted")
        return INTERRUPTED
    except _USAGE as error:
        say(_usage_line(error))
        return WRONG_USE
    except Exception as error:
        if debug():
            raise
        code = _expected(error)
        if code is not None:
            say(str(error))
            return code
        if isinstance(error, OSError) and error.strerror:
            name = f"'{error.filename}': " if error.filename else ""
            say(f"{name}{error.strerror}: check the disk's space and the permissions")
            return FAILED
        say(f"internal error: {type(error).__name__}: {error} (run it again with --debug)")
        return FAILED
    return result if isinstance(result, int) else DONE
