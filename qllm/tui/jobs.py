"""Jobs started from the app: separate processes, which outlive it."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from qllm.errors import WorkError
from qllm.paths import resolve_home
from qllm.spawn import ending, python_command, tail

LOG_FOLDER = "logs"
"""Folder, among the runs, for the output of started jobs, a file for each."""

_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    """Exit code; negative for the number of the signal that killed it."""
    last: tuple[str, ...]
    """Its last printed lines, unescaped."""

    @property
    def well(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0

    @property
    def how(self) -> str:
        """``ended with exit code 2``, ``was killed by SIGKILL``."""
        return ending(self.code)


@dataclass(frozen=True)
class StartedJob:
    """A job that was started from here, and does not need us."""

    pid: int
    """Its process, which its run in the store carries, too."""
    log: Path
    """What it prints."""
    command: str
    """The command line that does the same."""
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    def ended(self, lines: int = 6) -> Ended | None:
        """How it ended, with its last lines; ``None`` while it works."""
        code = self._process.returncode  # a thread waits for it
        return None if code is None else Ended(code, self.last_lines(lines))

    def last_lines(self, lines: int = 6) -> tuple[str, ...]:
        """The last lines that it printed and that are not empty."""
        printed = (line.rstrip() for line in tail(self.log, _TAIL_BYTES))
        return tuple(line for line in printed if line)[-lines:]


def command_line(words: Sequence[str]) -> str:
    """The words after ``qllm`` as one would type them."""
    return shlex.join(["qllm", *words])


def own_process(words: Sequence[str]) -> list[str]:
    """The arguments of a process that runs a command of ``qllm`` as this installation has it."""
    return python_command("qllm.cli.main:run", *words)


def start_job(words: Sequence[str], home: Path | None = None) -> StartedJob:
    """Start a command of ``qllm`` that outlives the app.

    It is in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it, reads
    nothing, and prints into a file.

    Args:
        words: what stands after ``qllm``, such as ``("run", "matrix/climbing")``.
        home: the folder of the runs; ``None`` for the usual one.

    Raises:
        WorkError: it cannot be started; the message says why.
    """
    folder = resolve_home(home)
    said = [*words, *([] if home is None else ["--home", str(home)])]
    try:
        log, file = _new_log(folder / LOG_FOLDER, words[0] if words else "qllm")
        with file:
            process = subprocess.Popen(
                own_process(said),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
    except OSError as error:
        where = f" ('{error.filename}')" if error.filename else ""
        raise WorkError(f"the job cannot be started: {error.strerror or error}{where}") from None
    # Somebody has to take note of its end, else a dead process would look alive.
    threading.Thread(target=process.wait, name=f"job {process.pid}", daemon=True).start()
    return StartedJob(process.pid, log, command_line(said), process)


def _new_log(folder: Path, command: str) -> tuple[Path, IO[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    began = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        path = folder / f"{began}{'' if number == 1 else f'-{number}'}-{command}.log"
        try:
            return path, path.open("xb")
        except FileExistsError:
            continue
    raise OSError(f"'{folder}' has too many logs of this second")
