"""The process of one training, as held by its job."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path

from prompts.bounded import BoundsError, open_regular
from qllm.config.build import from_stored
from qllm.jobs.credit import TrainedCredit
from qllm.jobs.job_control import STOP_SIGNALS
from qllm.jobs.messages import Channel, Message, Order, Word
from qllm.jobs.tasks import task_card
from qllm.store.schema import Run
from qllm.store.store import Store

LOG_FILE = "worker.log"
"""In the folder of the training's run: whatever its process prints."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from qllm.jobs.worker import main; sys.exit(main())"
)
"""A fresh interpreter with our search path. A fork would copy the locks of torch's threads."""

_TAIL_BYTES, _TAIL_LINES, _TAIL_LENGTH = 4096, 3, 400


class TrainingProcess:
    """A training in a process of its own.

    Args:
        run: the training; ``run.parent_id`` is the run it belongs to.
        threads: that it will compute with.
        credit: the credit function of algorithm qllm.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self, store: Store, run: Run, threads: int, credit: TrainedCredit | None = None
    ) -> None:
        assert run.parent_id is not None
        self.run, self._credit = run, credit
        self._log = store.make_run_dir(run.id) / LOG_FILE
        self._told: Word = "continue"
        ours, theirs = Pipe()
        self._channel = Channel(ours)
        try:
            self._process = self._start(theirs.fileno(), threads)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        url = store.database.engine.url.render_as_string(hide_password=False)
        home = str(store.home.resolve())
        graph_hash = None if credit is None else credit.graph.graph_hash
        self._channel.send(Order(run.id, run.parent_id, home, url, graph_hash))

    def _start(self, channel: int, threads: int) -> subprocess.Popen[bytes]:
        path = json.dumps([os.path.abspath(folder) for folder in sys.path])
        with self._log.open("ab") as log:
            self._log_from = log.tell()
            # Held back until the process has decided what to do with them: a Ctrl-C in its first
            # seconds must not end one that will be told to stop. The mask is inherited.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            try:
                return subprocess.Popen(
                    [sys.executable, "-c", _START, str(self.run.id), str(channel), path],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[channel],
                    env=dict(os.environ) | {"OMP_NUM_THREADS": str(threads)},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._channel.fileno()

    def tell(self, word: Word) -> None:
        """Pass on what the run is told, if it is new."""
        if word != self._told:
            self._told = word
            self._channel.send(word)

    def received(self) -> Iterator[Message]:
        """Messages since the last call; waits for nothing."""
        return self._channel.received()

    @property
    def ended(self) -> bool:
        """Whether the process is gone; what it sent before can still be received."""
        return self._process.poll() is not None

    def death(self) -> str:
        """Description of an end without a last message, with the last lines that were printed."""
        code = self._process.returncode
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += " (by a user, or by the kernel for lack of memory)"
        else:
            how = f"ended with exit code {code}"
        last = _tail(self._log, self._log_from)
        said = f"; it printed last: {last} ('{self._log}')" if last else ""
        named = "" if self._credit is None else f"; {self._memory(self._credit)}"
        return f"its process {self.pid} {how}{named}{said}"

    def _memory(self, credit: TrainedCredit) -> str:
        config = from_stored(self.run.config)
        return credit.memory(config, task_card(config))

    def leave_alone(self) -> None:
        """Close the pipe: the process saves a checkpoint and ends by itself."""
        self._channel.close()

    def close(self, wait_s: float = 0.0) -> None:
        """Wait a moment for the end, else kill it; nothing of it is left then."""
        self.leave_alone()
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            if self._log.stat().st_size == 0:
                self._log.unlink()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _tail(path: Path, start: int) -> str:
    """The last lines that were written to a file after ``start``, as one line."""
    try:
        with open(open_regular(path), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, BoundsError):
        return ""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL_LINES:])[-_TAIL_LENGTH:]
