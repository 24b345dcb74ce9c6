"""A candidate's mathematics and an episode under it, worked out by a process of its own.

The app itself never loads torch, which takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qllm.report.episode import CreditEpisode
from qllm.spawn import python_command
from qllm.tui.reading.playing import episode_from_json


@dataclass(frozen=True)
class AtWork:
    """Results for a function so far; ``None`` where still being computed."""

    mathematics: str | None = None
    """Empty where it is too long to be read."""
    episode: CreditEpisode | None = None
    problem: str = ""
    """Why there is no episode."""


_known: dict[tuple[object, ...], AtWork] = {}
"""Results since the app was opened; they do not change."""


class Playing:
    """The process that computes a candidate's `AtWork`.

    Args:
        key: what the answer depends on; it is worked out once.
        tell: called in a thread with all that is known, whenever more is.
    """

    def __init__(
        self,
        home: Path | None,
        candidate_id: int,
        graph_hash: str | None,
        trained: bool,
        tell: Callable[[AtWork], None],
    ) -> None:
        self._words = [str(candidate_id)]
        self._words += [] if home is None else ["--home", str(home)]
        self._words += [] if trained else ["--random"]
        self._key = (str(home), candidate_id, graph_hash, trained)
        self._tell = tell
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = threading.Event()

    def start(self) -> None:
        """Tell what is known already, or begin."""
        known = _known.get(self._key)
        if known is not None:
            self._tell(known)
            return
        threading.Thread(target=self._work, name="episode", daemon=True).start()

    def cancel(self) -> None:
        """End the process; nothing is reported any more."""
        self._cancelled.set()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _work(self) -> None:
        so_far = AtWork()
        try:
            self._process = subprocess.Popen(
                python_command("qllm.tui.reading.playing:main", *self._words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            )
        except OSError as error:
            self._say(AtWork("", None, f"it cannot be worked out: {error.strerror}"))
            return
        if self._cancelled.is_set():
            self._process.kill()
        for line in self._process.stdout or ():
            told = json.loads(line)
            if "mathematics" in told:
                so_far = AtWork(told["mathematics"] or "")
            elif "episode" in told:
                so_far = AtWork(so_far.mathematics or "", episode_from_json(told["episode"]))
            else:
                so_far = AtWork(so_far.mathematics or "", None, str(told["problem"]))
            self._say(so_far)
        code = self._process.wait()
        if so_far.episode is None and not so_far.problem:
            self._say(AtWork("", None, f"the process that works it out ended with code {code}"))

    def _say(self, known: AtWork) -> None:
        if self._cancelled.is_set():
            return
        if known.episode is not None:
            _known[self._key] = known
        self._tell(known)
