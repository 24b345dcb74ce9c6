"""The sandbox of a job: opened when it is first needed, shared, and closed with the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qllm.errors import WorkError

if TYPE_CHECKING:
    from prompts.cards import TaskCard
    from qllm.config.tree import RunConfig
    from sandbox.checker import Sandbox


class Sandboxes:
    """Opens at most one sandbox at a time; to be closed, as by ``contextlib.closing``.

    Args:
        note: told in a line that a sandbox warms up, which takes seconds.
    """

    def __init__(self, note: Callable[[str], None] = lambda text: None) -> None:
        self._note = note
        self._open: Sandbox | None = None
        self._exports = False

    def get(self, config: RunConfig, card: TaskCard, *, export: bool = False) -> Sandbox:
        """The job's sandbox.

        Args:
            export: whether sources will be run, and not only graphs judged.

        Raises:
            WorkError: it is not available on this machine.
        """
        from sandbox.checker import Sandbox, SandboxUnavailable

        if self._open is not None and (self._exports or not export):
            return self._open
        self.close()
        self._note("the sandbox warms up")
        try:
            self._open = Sandbox(config.sandbox_for(card), export=export)
        except SandboxUnavailable as error:
            raise WorkError(str(error)) from None
        self._exports = export
        return self._open

    @property
    def opened(self) -> Sandbox | None:
        """The job's sandbox, if one is open."""
        return self._open

    def close(self) -> None:
        """End the sandbox's processes, if there are any."""
        if self._open is not None:
            self._open.close()
            self._open = None
