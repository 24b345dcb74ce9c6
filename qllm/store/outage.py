"""Waiting for an unreachable database server, then repeating the transaction."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from qllm.store.errors import StoreAwayError

PATIENCE_S = 120.0
"""How long a job waits: a restart or a short break of the network, and no night."""

_EVERY_S = 0.5

_Table = TypeVar("_Table", bound=type)


class Outage:
    """The present outage of a server, if any; shared by the threads of a job.

    A job waits in the transaction that it is at, so that no checkpoint gets ahead of the rows that
    belong before it, and no more than that transaction is held back.

    Args:
        tell: shows a line: once when the server has gone, once when it is back.
        patience_s: how long to wait, counted from when it had gone.
    """

    def __init__(self, tell: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        self._tell, self._patience_s = tell, patience_s
        self._lock = threading.Lock()
        self._since: float | None = None

    def wait(self, error: StoreAwayError) -> None:
        """Wait a moment before the next try.

        Raises:
            StoreAwayError: ``error``, once patience has run out.
        """
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                self._tell(f"{error}; waiting up to {self._patience_s:.0f} s for it")
            if time.monotonic() - self._since >= self._patience_s:
                raise error
        try:
            time.sleep(_EVERY_S)
        except KeyboardInterrupt:  # what still is to be recorded does not wait again
            self._patience_s = 0.0
            raise

    def over(self) -> None:
        """The server has answered."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            self._tell(f"the database is back after {time.monotonic() - since:.0f} s")


def persistently(work: Callable[[], Any], outage: Outage | None) -> Any:
    """Retry transactions after each loss of the connection as long as ``outage`` waits.

    Raises:
        StoreAwayError: the server is away; without an outage, at once.
    """
    while True:
        try:
            done = work()
        except StoreAwayError as error:
            if outage is None:
                raise
            outage.wait(error)
        else:
            if outage is not None:
                outage.over()
            return done


def patient(*, but: str = "") -> Callable[[_Table], _Table]:
    """Have the public methods of a table, each one transaction, go through `persistently`.

    They must be able to run again with the same arguments.

    Args:
        but: a method that rather fails at once.
    """

    def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def done(self: Any, *args: Any, **kwargs: Any) -> Any:
            return persistently(lambda: method(self, *args, **kwargs), self._database.outage)

        return done

    def decorate(table: _Table) -> _Table:
        for name, method in list(vars(table).items()):
            if inspect.isfunction(method) and not name.startswith("_") and name != but:
                setattr(table, name, decorated(method))
        return table

    return decorate
