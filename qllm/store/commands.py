"""Requests to running jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import select, update

from qllm.store.database import Database
from qllm.store.outage import patient
from qllm.store.schema import Command

CommandName = Literal["pause", "resume", "stop", "approve", "reject", "stop-after-round"]


@patient()
class CommandTable:
    """The ``commands`` table: written to control a job, read by the job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def send(self, run_id: int, name: CommandName, payload: Mapping[str, Any] | None = None) -> int:
        """Send a job a command; returns its id."""
        with self._database.write() as session:
            command = Command(
                run_id=run_id,
                name=name,
                payload=dict(payload) if payload is not None else None,
                issued=time.time(),
            )
            session.add(command)
            session.flush()
            return command.id

    def pending(self, run_ids: Sequence[int]) -> list[Command]:
        """Commands to these runs that no job has acknowledged, oldest first."""
        query = (
            select(Command)
            .where(Command.run_id.in_(run_ids), Command.acknowledged.is_(None))
            .order_by(Command.id)
        )
        with self._database.read() as session:
            return list(session.scalars(query))

    def acknowledge(self, command_ids: Sequence[int]) -> None:
        """Mark these commands as received by the job."""
        with self._database.write() as session:
            session.execute(
                update(Command).where(Command.id.in_(command_ids)).values(acknowledged=time.time())
            )

    def acknowledged(self, command_id: int) -> bool:
        """Whether the job has received a command."""
        query = select(Command.acknowledged).where(Command.id == command_id)
        with self._database.read() as session:
            return session.scalar(query) is not None
