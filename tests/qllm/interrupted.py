"""Trainings that are cut off at a moment of the test's choice."""

from __future__ import annotations

import pytest

from marl.events import Event, Metrics
from qllm.jobs.training_recorder import TrainingRecorder


def interrupted_at(monkeypatch: pytest.MonkeyPatch, env_steps: int) -> None:
    """Let the training be cut off right after it has recorded metrics at this step."""
    record = TrainingRecorder.__call__

    def recording(self: TrainingRecorder, event: Event) -> None:
        record(self, event)
        if isinstance(event, Metrics) and event.env_steps >= env_steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingRecorder, "__call__", recording)
