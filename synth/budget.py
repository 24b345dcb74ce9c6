"""Budget of a search: tokens, seconds and candidates."""

from __future__ import annotations

import time
from collections.abc import Callable

from models.protocol import Completion
from synth.config import SynthConfig


class Budget:
    """Counts tokens, seconds and checked replies against the configured limits.

    Seconds are those of this attempt: a resumed synthesis has them again.

    Args:
        config: The limits.
        recorded: Where and why a recorded synthesis ended early: (round, repair, reason). A replay
            ends there, too, and not by its own clock.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        config: SynthConfig,
        recorded: tuple[int, int, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._recorded, self._clock = config, recorded, clock
        self._start = clock()
        self.tokens = 0
        """Tokens read and written so far; a request's prompt counts once."""
        self.candidates = 0
        """Replies checked so far."""

    def read(self, reply: Completion, index: int) -> None:
        """Count a reply; ``index`` is its place among the replies of its request."""
        self.tokens += reply.completion_tokens + (reply.prompt_tokens if index == 0 else 0)

    def spent(self, round_: int, repair: int) -> str:
        """Why no further request may go out at this place; empty while it may."""
        if self._recorded is not None:
            return self._recorded[2] if (round_, repair) >= self._recorded[:2] else ""
        config = self._config
        if config.budget_tokens is not None and self.tokens >= config.budget_tokens:
            return f"the budget of {config.budget_tokens:,} tokens is spent ({self.tokens:,})"
        if config.budget_candidates is not None and self.candidates >= config.budget_candidates:
            return f"the budget of {config.budget_candidates:,} candidates is spent"
        if config.budget_seconds is not None:
            passed = self._clock() - self._start
            if passed >= config.budget_seconds:
                return f"the budget of {config.budget_seconds:g} seconds is spent"
        return ""
