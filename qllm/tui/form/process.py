"""Asking the process that knows the configuration."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from qllm.errors import UsageError, WorkError
from qllm.tui.form.fields import Checked, Command, Offer, Prefilled

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from qllm.tui.form.answer import main; main()"
)


class Asked(Protocol):
    """Who answers a form's questions. Calls wait, so they are made in threads."""

    @property
    def known(self) -> Offer | None:
        """What can be set, if it was asked before; does not wait."""
        ...

    def offer(self) -> Offer:
        """What can be set.

        Raises:
            WorkError: nobody can say.
        """
        ...

    def check(self, command: Command, task: str, settings: Sequence[str]) -> Checked:
        """What the command line would say.

        Raises:
            WorkError: as `offer`.
        """
        ...

    def like(self, kind: Command, config: Mapping[str, Any]) -> Prefilled:
        """The form of a run with this stored configuration.

        Raises:
            UsageError: it no longer fits.
            WorkError: as `offer`.
        """
        ...

    def close(self) -> None:
        """Let whoever waits for an answer go; the next question starts anew."""
        ...


class FormProcess:
    """`Asked` in a process that starts with the first question and ends with ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._offer: Offer | None = None

    @property
    def known(self) -> Offer | None:
        """See `Asked`."""
        return self._offer

    def offer(self) -> Offer:
        """See `Asked`. Asked once: models that are added meanwhile need a new app."""
        if self._offer is None:
            self._offer = Offer.from_json(self._ask(do="offer"))
        return self._offer

    def check(self, command: Command, task: str, settings: Sequence[str]) -> Checked:
        """See `Asked`."""
        answer = self._ask(do="check", command=command, task=task, settings=list(settings))
        return Checked(**answer)

    def like(self, kind: Command, config: Mapping[str, Any]) -> Prefilled:
        """See `Asked`."""
        return Prefilled(**self._ask(do="like", kind=kind, config=dict(config)))

    def close(self) -> None:
        """See `Asked`. The process keeps nothing, and may be in the middle of an import."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _ask(self, **question: Any) -> Any:
        with self._lock:
            waiting = self._process is not None and self._process.poll() is None
            try:
                said = self._said(json.dumps(question) + "\n")
                if not said and waiting:  # it had enough of waiting just now
                    self.close()
                    said = self._said(json.dumps(question) + "\n")
            except OSError as error:
                raise WorkError(f"the settings cannot be read: {error}") from None
            if not said:
                self.close()
                raise WorkError("the process that knows the settings has ended")
        answer = json.loads(said)
        if "problem" in answer:
            raise UsageError(answer["problem"])
        return answer["answer"]

    def _said(self, question: str) -> str:
        if self._process is None or self._process.poll() is not None:
            self._process = _started()
        process = self._process  # it may be closed while we wait
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(question)
            process.stdin.flush()
        return process.stdout.readline()


def _started() -> subprocess.Popen[str]:
    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # ours is what the app draws on
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


@cache
def shared() -> Asked:
    """The one that all forms of this app ask."""
    process = FormProcess()
    atexit.register(process.close)
    return process


def prepare() -> None:
    """Ask what can be set before anybody wants to know: it takes seconds the first time."""

    def ask() -> None:
        with contextlib.suppress(UsageError, WorkError):
            shared().offer()

    threading.Thread(target=ask, name="form", daemon=True).start()
