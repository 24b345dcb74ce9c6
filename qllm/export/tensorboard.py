"""Numbers of one training as a TensorBoard event file.

The records are written with TensorBoard's own classes, those behind torch's ``SummaryWriter``. That
writer itself names files after the host, cannot write to a draft, and writes from a thread where a
full disk ends in a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qllm.drafts import drafted
from qllm.export.records import Source
from qllm.extras import require_extra
from qllm.trackers.points import Point, scalars

_NAME = "events.out.tfevents.{began:010d}.qllm-{run}-{attempt:03d}"
_OURS = "events.out.tfevents.*.qllm-*"
_DRAFT = "events.part"
"""TensorBoard reads every file that has ``tfevents`` in its name, and a draft is not for it."""


def require_tensorboard() -> None:
    """Find out whether event files can be written.

    Raises:
        UsageError: the package is not installed; the message says what to install.
    """
    require_extra(
        "TensorBoard event files need", "tensorboard", "tensorboard", "choose csv or jsonl"
    )


class EventFile:
    """An event file of one training, open for more; scalars over environment steps.

    An event's wall time is the start of the training plus the seconds spent training, so that
    TensorBoard's relative time leaves out pauses and interruptions.

    Raises:
        OSError: it cannot be written; so do the methods.
    """

    def __init__(self, path: Path, source: Source) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2, summary_pb2.Summary
        self._began = source.began
        self._file = path.open("ab")
        self._writer = RecordWriter(self._file)

    def begin(self) -> None:
        """Write the head of a new file."""
        self._write(file_version="brain.Event:2")
        # A TensorBoard that shows an earlier attempt forgets all of it here: the file repeats what
        # still counts.
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._write(step=0, session_log=start)

    def add(self, points: Iterable[Point]) -> None:
        """Add numbers as scalars; hand them to the operating system."""
        for scalar in scalars(points):
            value = self._summary.Value(tag=scalar.tag, simple_value=scalar.value)
            self._write(scalar.wall_s, step=scalar.env_steps, summary=self._summary(value=[value]))
        self._file.flush()

    def _write(self, wall_s: float = 0.0, **fields: object) -> None:
        event = self._event.Event(wall_time=self._began + wall_s, **fields)
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()


def write_events(root: Path, source: Source, points: Iterable[Point], attempt: int) -> Path:
    """Write a training's event file, and empty those of earlier attempts or exports beside it.

    Args:
        root: TensorBoard names a curve by its path from here, such as ``vdn/seed-1``.
        points: its numbers, in the order of their steps.
        attempt: of the run that writes, so that a later attempt's file comes after this one.

    Returns:
        Its path.

    Raises:
        OSError: it cannot be written.
    """
    folder = root / source.algo / f"seed-{source.seed}"
    name = _NAME.format(began=int(source.began), run=source.run, attempt=attempt)
    path = folder / name
    with _new(path, source) as events:
        events.add(points)
    for other in folder.glob(_OURS):
        if other != path:
            # Only its head stays. A TensorBoard that reads it would not get past a file that has
            # gone.
            with _new(other, source):
                pass
    return path


@contextmanager
def _new(path: Path, source: Source) -> Iterator[EventFile]:
    """A new event file with its head, which replaces ``path`` when the block ends."""
    with drafted(path, _DRAFT) as draft:
        draft.unlink(missing_ok=True)  # of one who was killed; an event file is appended to
        events = EventFile(draft, source)
        try:
            events.begin()
            yield events
        finally:
            events.close()
