"""The doctor's trials: each forbidden thing is tried from inside the cage and fails."""

from __future__ import annotations

from sandbox.checker import Sandbox
from sandbox.trials import TRIALS, try_everything


def test_nothing_forbidden_succeeds_from_inside(warm_sandbox: Sandbox) -> None:
    trials = try_everything(warm_sandbox)
    assert [t.name for t in trials] == list(TRIALS)
    assert [t.name for t in trials if not t.held] == []
