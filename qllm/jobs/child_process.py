"""A child process of a job for its trainings: pipe, log of its output, exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

from qllm import spawn
from qllm.jobs.messages import Channel, Message, Word
from qllm.signals import STOP_SIGNALS

_TAIL_BYTES, _TAIL_LINES, _TAIL_LENGTH = 4096, 3, 400


class ChildProcess:
    """A fresh interpreter that calls a function; a fork would copy the locks of torch's threads.

    Args:
        function: such as ``qllm.jobs.worker:main``; it is given ``title`` and the descriptor of
            its end of the pipe, as words.
        title: for people who look at the list of processes.
        log: file for whatever it prints, which is added to.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, function: str, title: str, log: Path, threads: int) -> None:
        self._log = log
        self._told: Word = "continue"
        ours, theirs = Pipe()
        self.channel = Channel(ours)
        try:
            self._process = self._start(function, title, theirs.fileno(), threads)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def _start(
        self, function: str, title: str, channel: int, threads: int
    ) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._log_from = log.tell()
            # Held back until the process has decided what to do with them: a Ctrl-C in its first
            # seconds must not end one that will be told to stop. The mask is inherited.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            try:
                return subprocess.Popen(
                    spawn.python_command(function, title, str(channel)),
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
        return self._process.pid

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self.channel.fileno()

    def tell(self, word: Word) -> None:
        """Forward the job's directive, if it has changed."""
        if word != self._told:
            self._told = word
            self.channel.send(word)

    def received(self) -> Iterator[Message]:
        """Messages since the last call; does not wait."""
        return self.channel.received()

    @property
    def ended(self) -> bool:
        """Whether the process is gone; its messages can still be received."""
        return self._process.poll() is not None

    def death(self, named: str = "") -> str:
        """Description of an exit without a last message, with the last printed lines.

        Args:
            named: a remark on what it was at.
        """
        code = self._process.returncode
        how = spawn.ending(code)
        if -code == signal.SIGKILL:
            how += " (by a user, or by the kernel for lack of memory)"
        lines = [line.strip() for line in spawn.tail(self._log, _TAIL_BYTES, start=self._log_from)]
        last = " | ".join([line for line in lines if line][-_TAIL_LINES:])[-_TAIL_LENGTH:]
        said = f"; it printed last: {last} ('{self._log}')" if last else ""
        return f"its process {self.pid} {how}{'; ' if named else ''}{named}{said}"

    def leave_alone(self) -> None:
        """Close the pipe: the process ends by itself."""
        self.channel.close()

    def close(self, wait_s: float = 0.0) -> None:
        """Wait for the exit for ``wait_s`` seconds, then kill it."""
        self.leave_alone()
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            if self._log.stat().st_size == 0:
                self._log.unlink()


def ignore_the_terminal() -> None:
    """Ignore stop signals in a child process: the job gets them, and tells the child."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
