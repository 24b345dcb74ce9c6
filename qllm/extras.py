"""Packages that only some features need, by the extra of ours that installs them."""

from __future__ import annotations

import importlib.util

from qllm.errors import UsageError


def install_command(extra: str) -> str:
    """What installs an extra.

    From this project's own folder: no package index has QLLM, and what one would offer under its
    name is somebody else's.
    """
    return f"pip install -e '.[{extra}]'"


def require_extra(what: str, package: str, extra: str, instead: str = "") -> None:
    """Find out whether an optional package is installed, without importing it.

    Args:
        what: the feature that needs it, as the message begins.
        instead: what else to do.

    Raises:
        UsageError: it is not; the message says what to install.
    """
    if importlib.util.find_spec(package) is None:
        otherwise = f", or {instead}" if instead else ""
        raise UsageError(
            f"{what} the extra '{extra}', which is not installed:"
            f" {install_command(extra)}{otherwise}"
        )
