"""Errors that the command line turns into one line and an exit code."""

from __future__ import annotations


class UsageError(ValueError):
    """What is wrong was known before any work began: exit code 2."""


class WorkError(RuntimeError):
    """Work had begun and cannot go on: exit code 1.

    Args:
        message: what, where, what to do.
        run_id: the run that the error belongs to; what it finished is in the store.
    """

    def __init__(self, message: str, run_id: int | None = None) -> None:
        self.run_id = run_id
        super().__init__(message)
