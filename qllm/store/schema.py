"""Tables of the run store.

Times are seconds since the epoch, UTC. Rows that belong to a run carry the attempt that wrote them:
a run that is resumed starts a new attempt, and what an earlier attempt wrote after the step from
which the new one went on is superseded (see :mod:`qllm.store.attempts`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from qllm.store.types import AnyText, FiniteFloat

SCHEMA_VERSION = "0002"
"""The revision in ``migrations/versions`` that these tables correspond to."""

JsonObject = dict[str, Any]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={  # a migration can only change a constraint that has a name
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own declaration)
        int: BigInteger().with_variant(Integer, "sqlite"),
        str: AnyText,
        float: FiniteFloat,
        JsonObject: JSON(none_as_null=True),
        list[float]: JSON,
    }


class Run(Base):
    """One run: a whole `run`, a synthesis, a comparison, or the training of one seed."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_parent", "parent_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    uid: Mapped[str | None]
    """A random id, which the run's folder carries, too; None for one of the first version that had
    begun by then (:mod:`qllm.store.folders`)."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    """``run``, ``synth``, ``train`` or ``compare``."""
    task: Mapped[str]
    algo: Mapped[str | None]
    seed: Mapped[int | None]
    status: Mapped[str]
    """``queued``, ``running``, ``paused``, ``finished``, ``failed`` or ``stopped``; readers derive
    ``died`` from the heartbeat (:meth:`qllm.store.runs.RunTable.status`)."""
    attempt: Mapped[int]
    """0 before the first start, then 1, 2, ..."""
    config: Mapped[JsonObject]
    """The resolved configuration."""
    command: Mapped[str]
    """The command line that made the run."""
    versions: Mapped[JsonObject]
    inputs: Mapped[JsonObject]
    """What the run was given besides its configuration, such as the certificate it trains on."""
    created: Mapped[float]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    error: Mapped[str | None]
    host: Mapped[str | None]
    boot_id: Mapped[str | None]
    pid: Mapped[int | None]
    process_started: Mapped[float | None]
    beat: Mapped[float | None]
    env_steps: Mapped[int]
    total_steps: Mapped[int]
    env_steps_per_s: Mapped[float | None]
    result: Mapped[JsonObject | None]


class Attempt(Base):
    """One start of a run. ``resumed_at`` is the env step of the checkpoint it went on from."""

    __tablename__ = "attempts"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    resumed_at: Mapped[int]
    started: Mapped[float]


class Round(Base):
    """A round of synthesis."""

    __tablename__ = "rounds"
    __table_args__ = (UniqueConstraint("run_id", "round"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    round: Mapped[int]
    status: Mapped[str]
    started: Mapped[float]
    ended: Mapped[float | None]
    selected_candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    reason: Mapped[str | None]
    advice: Mapped[str | None]


class Candidate(Base):
    """One reply of the coder and what became of it. ``repair`` 0 is the first reply of its slot."""

    __tablename__ = "candidates"
    __table_args__ = (UniqueConstraint("run_id", "round", "slot", "repair"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    round: Mapped[int]
    slot: Mapped[int]
    repair: Mapped[int]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    source: Mapped[str]
    graph_hash: Mapped[str | None]
    stage: Mapped[str]
    verdict: Mapped[str]
    rule: Mapped[str | None]
    duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    report: Mapped[JsonObject]
    """The check's report as JSON, the gated graph included when it was accepted."""
    created: Mapped[float]


class ChatMessage(Base):
    """One turn of a conversation with a model; (conversation, position) orders the turns."""

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("run_id", "conversation", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    conversation: Mapped[str]
    position: Mapped[int]
    role: Mapped[str]
    content: Mapped[str]
    model: Mapped[str | None]
    seed: Mapped[int | None]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_s: Mapped[float | None]
    streaming: Mapped[bool]
    """True while the reply is still being written."""
    request: Mapped[JsonObject | None]
    """For a reply: what a replay needs besides the turns before it (key, n, index, temperature)."""
    created: Mapped[float]


class Verdict(Base):
    """A judgement with its reasons: ``pilot`` scores, a ``selection``, a ``gate`` decision."""

    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("run_id", "kind", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    kind: Mapped[str]
    key: Mapped[str]
    """Tells verdicts of a kind apart, such as ``round-1`` or a graph hash with its settings."""
    round: Mapped[int | None]
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    score: Mapped[float | None]
    reason: Mapped[JsonObject]
    created: Mapped[float]


class Metric(Base):
    """One number of a training at one step."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_series", "run_id", "name", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    env_steps: Mapped[int]
    wall_s: Mapped[float]
    name: Mapped[str]
    value: Mapped[float | None]
    """NULL where the number was not finite."""


class Evaluation(Base):
    """One evaluation: the undiscounted team return of every episode."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_run", "run_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[int]
    env_steps: Mapped[int]
    wall_s: Mapped[float]
    returns: Mapped[list[float]]


class Command(Base):
    """A request to a running job: pause, resume, stop, approve, reject or stop-after-round."""

    __tablename__ = "commands"
    __table_args__ = (Index("ix_commands_run", "run_id", "acknowledged"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    name: Mapped[str]
    payload: Mapped[JsonObject | None]
    issued: Mapped[float]
    acknowledged: Mapped[float | None]
