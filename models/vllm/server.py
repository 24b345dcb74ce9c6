"""One vLLM server: started, adopted, watched, put to sleep and stopped."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from models.protocol import ModelError, Say
from models.vllm.calls import Calls, ServerMetrics
from models.vllm.environment import examine
from models.vllm.launch import ServerSpec, runs_on_cpu
from models.vllm.locks import UserMark, folder_lock, users
from models.vllm.processes import is_alive, kill_family, wait_gone
from models.vllm.reasons import reason, tail
from models.vllm.starting import start_keeper
from models.vllm.state import ServerState, forget_state, read_state, write_state

_POLL_S = 0.1
_NEWS_S = 20.0
_PORT_TRIES = 3


class VllmServer:
    """The server of a folder. At most one runs there; whoever wants the same settings shares it.

    A server goes on for as long as a process uses it: the last one's end, even by SIGKILL, ends it.
    A persistent one goes on until it is stopped.

    Args:
        spec: Its settings.
        folder: For its log, its key and its state; made with mode 0700.
        say: Told about slow steps, a line at a time.
        persistent: Whether it shall outlive its users.
        start_timeout_s: Seconds it may take to become ready.
        grace_s: Seconds between asking it to stop and killing it.
    """

    def __init__(
        self,
        spec: ServerSpec,
        folder: str | Path,
        say: Say | None = None,
        *,
        persistent: bool = False,
        start_timeout_s: float = 900.0,
        grace_s: float = 20.0,
    ) -> None:
        self.spec = spec
        self.folder = Path(folder).absolute()
        self.adopted = False
        """Whether another process started the server."""
        self._say = say if say is not None else _nothing
        self._persistent = persistent
        self._start_timeout_s = start_timeout_s
        self._grace_s = grace_s
        self._lock = threading.RLock()
        self._state: ServerState | None = None
        self._mark: UserMark | None = None
        self._keeper: subprocess.Popen[str] | None = None
        self._given_up = threading.Event()

    @property
    def log(self) -> Path:
        """Log of the server; the one before is ``server.log.1``."""
        return self.folder / "server.log"

    @property
    def url(self) -> str:
        """Of its API. The server must have been started."""
        return f"http://127.0.0.1:{self._started().port}/v1"

    @property
    def api_key(self) -> str:
        """Its API key. The server must have been started."""
        return self._started().key

    @property
    def pid(self) -> int:
        """Process number of the server itself. The server must have been started."""
        return self._started().server

    def start(self) -> None:
        """Adopt the folder's server if it runs with the same settings, or start one and wait until
        it is ready. Nothing happens if that was done and it still runs.

        Raises:
            ModelError: it does not start, in time or at all (with the reason from its log), or the
                folder's server runs with other settings.
        """
        with self._lock:
            if self._state is not None and self._state.is_running():
                return
            self._make_folder()
            with folder_lock(self.folder, self._start_timeout_s + self._grace_s):
                self._mark = self._mark or UserMark(self.folder)
                try:
                    if not self._adopt():
                        self._start_new()
                except BaseException:
                    self._unmark()
                    raise

    def give_up(self) -> None:
        """Wait no longer for a server that is just loading: ``start``, in another thread, ends it
        and raises. Later starts end at once."""
        self._given_up.set()

    def is_running(self) -> bool:
        """Whether its process lives, be it well or not."""
        state = self._state
        return state is not None and state.is_running()

    def is_healthy(self) -> bool:
        """Whether it answers and says that it is well."""
        return self.is_running() and self._calls().healthy()

    def metrics(self) -> ServerMetrics:
        """Its load and totals.

        Raises:
            ModelError: it cannot be asked.
        """
        return self._calls().metrics()

    def context_tokens(self) -> int | None:
        """Its context, as it says."""
        return self._calls().model_ids().get(self.spec.served_name)

    def others(self) -> int:
        """Number of other users."""
        with folder_lock(self.folder, self._grace_s + 30.0):
            return users(self.folder) - (self._mark is not None)

    def can_sleep(self) -> bool:
        """Whether it was started so that it can be put to sleep."""
        return self.spec.sleep and not self.on_cpu

    def sleep(self) -> bool:
        """Free the GPU's memory but keep the process; whether it did."""
        return self.can_sleep() and self._calls().sleep()

    def wake(self) -> bool:
        """Take the memory again; whether it did."""
        return self._calls().wake()

    def is_asleep(self) -> bool:
        """Whether it sleeps."""
        return self.is_running() and self._calls().is_asleep()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return tail(self.log, lines)

    def reason(self) -> str:
        """Why it died, in one line, from its log."""
        return reason(self.log)

    def release(self) -> None:
        """Use it no longer. It ends with its last user, unless it is persistent."""
        with self._lock:
            if self._mark is None:
                return
            with folder_lock(self.folder, self._grace_s + 30.0):
                self._unmark()
                state = read_state(self.folder)
                if state is not None and not state.persistent and users(self.folder) == 0:
                    self._stop(state)
            self._state = None

    def stop(self) -> None:
        """End the folder's server and all of its processes, whoever started it and uses it.

        Calling it twice is fine.
        """
        with self._lock:
            if self.folder.is_dir():
                with folder_lock(self.folder, self._grace_s + 30.0):
                    state = read_state(self.folder)
                    if state is not None:
                        self._stop(state)
                    self._unmark()
            self._state = None

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = self.folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise ModelError(
                f"others may write into {self.folder}, where the server's program is prepared and "
                "its key is kept: choose another folder, or chmod go-w and own it"
            )

    def _adopt(self) -> bool:
        """Take over the folder's server, if it is ours, lives and is well. What is dead is cleared
        away."""
        state = read_state(self.folder)
        if state is None:
            return False
        if not state.is_running():
            if is_alive(state.server, state.server_started):
                kill_family(state.server)  # its keeper was killed
            forget_state(self.folder)
            return False
        if state.digest != self.spec.digest():
            raise ModelError(
                f"a server for '{state.served_name}' runs in {self.folder} with other settings: "
                f"stop it first (qllm models stop {state.served_name})"
            )
        calls = Calls(state.port, state.key)
        if not calls.healthy() or self.spec.served_name not in calls.model_ids():
            self._say(f"the running server of '{self.spec.served_name}' is not well: stopping it")
            self._stop(state)
            return False
        if self._persistent and not state.persistent:
            os.kill(state.keeper, signal.SIGUSR1)
            state = dataclasses.replace(state, persistent=True)
            write_state(self.folder, state)
        self._persistent = state.persistent  # so that it will be again, should it be restarted
        self._state = state
        self.adopted = True
        return True

    def _start_new(self) -> None:
        on_cpu = self.on_cpu
        self._say(f"starting vLLM for '{self.spec.served_name}' (log: {self.log})")
        started = time.monotonic()
        for attempt in range(_PORT_TRIES):
            keeper, self._state = start_keeper(
                self.spec,
                self.folder,
                self.log,
                on_cpu=on_cpu,
                persistent=self._persistent,
                grace_s=self._grace_s,
            )
            try:
                failure = self._wait_ready(keeper, started)
            except BaseException:
                self._stop(self._started())
                self._state = None
                raise
            if failure is None:
                self._keeper = keeper
                self.adopted = False
                self._say(
                    f"'{self.spec.served_name}' is ready after {time.monotonic() - started:.0f} s"
                )
                return
            self._stop(self._started())
            self._state = None
            if "its port was taken" not in failure or attempt == _PORT_TRIES - 1:
                raise ModelError(
                    f"the vLLM server of '{self.spec.served_name}' did not start: {failure}; its "
                    f"whole log: {self.log}"
                )

    def _wait_ready(self, keeper: subprocess.Popen[str], started: float) -> str | None:
        """Wait until the server answers; what went wrong, in words, if it does not."""
        calls = self._calls()
        news = started + _NEWS_S
        while True:
            if self._given_up.is_set():
                raise ModelError(f"nobody waits for the server of '{self.spec.served_name}' now")
            if keeper.poll() is not None:
                return self.reason()
            if calls.healthy() and self.spec.served_name in calls.model_ids():
                return None
            now = time.monotonic()
            if now - started > self._start_timeout_s:
                last = self.log_tail(1).strip()[-200:]
                return f"it was not ready after {self._start_timeout_s:g} s (last line: {last})"
            if now > news:
                news = now + _NEWS_S
                self._say(f"'{self.spec.served_name}' is loading ({now - started:.0f} s)")
            time.sleep(_POLL_S)

    def _stop(self, state: ServerState) -> None:
        if state.is_running():
            with suppress(ProcessLookupError):
                os.kill(state.keeper, signal.SIGTERM)
            if not wait_gone(state.keeper, state.keeper_started, self._grace_s + 10.0):
                kill_family(state.keeper)
        if is_alive(state.server, state.server_started):
            kill_family(state.server)
            wait_gone(state.server, state.server_started, 10.0)
        forget_state(self.folder)

    def _unmark(self) -> None:
        if self._mark is not None:
            self._mark.remove()
            self._mark = None

    @property
    def on_cpu(self) -> bool:
        """Whether it runs, or would run, on a CPU.

        Raises:
            ModelError: its Python has no vLLM, or one that is not built for the device.
        """
        return runs_on_cpu(self.spec, examine(self.spec.python).on_cpu)

    def _started(self) -> ServerState:
        if self._state is None:
            raise ModelError(f"the server of '{self.spec.served_name}' has not been started")
        return self._state

    def _calls(self) -> Calls:
        state = self._started()
        return Calls(state.port, state.key)


def _nothing(line: str) -> None:
    """Default `Say`: discards the line."""
