"""Tables of the run store.

Times are seconds since the epoch, UTC. Rows that belong to a run carry the attempt that wrote them:
a run that is resumed starts a new attempt, and what an earlier attempt wrote after the step from
which the new one went on is superseded (see :mod:`qllm.store.attempts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, UniqueConstraint, event
from sqlalchemy.orm import DeclarativeBase, Mapped, QueryContext, mapped_column

from qllm.store import records
from qllm.store.damage import damage_in
from qllm.store.folders import UID
from qllm.store.numbers import run_name
from qllm.store.states import KINDS, STATUSES
from qllm.store.types import AnyText, FiniteFloat, JsonObject, Moment, Numbers, WholeNumber

SCHEMA_VERSION = "0002"
"""The revision in ``migrations/versions`` that these tables correspond to."""

Object = dict[str, Any]
Count = Annotated[int, "count"]
Time = Annotated[float, "time"]


def _json(shape: type[records.BaseModel], *, optional: bool = False) -> Any:
    return mapped_column(JsonObject(records.fitting(shape), optional))


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
        Count: WholeNumber,
        str: AnyText,
        float: FiniteFloat,
        Time: Moment,
        list[float]: Numbers,
    }

    @property
    def damage(self) -> str:
        """The damage of the row, in words; empty without any."""
        return ", ".join((*damage_in(vars(self).items()), *self._oddities()))

    def _oddities(self) -> Iterator[str]:
        """Invalid values of the right type."""
        yield from ()


def run_oddities(run: Any) -> Iterator[str]:
    """Invalid values of the right types in a run, or a row of its columns."""
    if run.kind not in KINDS:
        yield f"kind: '{run.kind}' is unknown"
    if run.status not in STATUSES:
        yield f"status: '{run.status}' is unknown"
    if run.uid is not None and not UID.fullmatch(run.uid):
        yield "uid: no such id"
    if run.parent_id and run.parent_id >= run.id:
        yield f"parent_id: {run.parent_id} is no earlier run"


class Run(Base):
    """One run: a whole `run`, a synthesis, a comparison, or the training of one seed."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_parent", "parent_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    uid: Mapped[str | None]
    """A random id, which the run's folder carries, too; None for one of the first version that had
    begun by then (:mod:`qllm.store.folders`)."""
    parent_id: Mapped[int | None] = mapped_column(WholeNumber, ForeignKey("runs.id"))
    kind: Mapped[str]
    """``run``, ``synth``, ``train`` or ``compare``."""
    task: Mapped[str]
    algo: Mapped[str | None]
    seed: Mapped[Count | None]
    status: Mapped[str]
    """``queued``, ``running``, ``paused``, ``finished``, ``failed`` or ``stopped``; readers derive
    ``died`` from the heartbeat (:meth:`qllm.store.runs.RunTable.status`)."""
    attempt: Mapped[Count]
    """0 before the first start, then 1, 2, ..."""
    config: Mapped[Object] = _json(records.Settings)
    """The resolved configuration."""
    command: Mapped[str]
    """The command line that made the run."""
    versions: Mapped[Object] = _json(records.Versions)
    inputs: Mapped[Object] = _json(records.Inputs)
    """Inputs beside the configuration, such as the certificate that it trains with."""
    created: Mapped[Time]
    started: Mapped[Time | None]
    ended: Mapped[Time | None]
    error: Mapped[str | None]
    host: Mapped[str | None]
    boot_id: Mapped[str | None]
    pid: Mapped[Count | None]
    process_started: Mapped[float | None]
    beat: Mapped[Time | None]
    env_steps: Mapped[Count]
    total_steps: Mapped[Count]
    env_steps_per_s: Mapped[float | None]
    result: Mapped[Object | None] = _json(records.Result, optional=True)

    @property
    def name(self) -> str:
        """Its displayed number: ``7``, or ``7.2`` for the second training of run 7."""
        return run_name(self.id)

    @cached_property
    def settings(self) -> records.Settings:
        """``config``, as far as readers use it."""
        return records.Settings.model_validate(self.config or {})

    @cached_property
    def given(self) -> records.Inputs:
        """``inputs``, typed."""
        return records.Inputs.model_validate(self.inputs or {})

    @cached_property
    def outcome(self) -> records.Result:
        """``result``, typed."""
        return records.Result.model_validate(self.result or {})

    def _oddities(self) -> Iterator[str]:
        return run_oddities(self)


class Attempt(Base):
    """One start of a run. ``resumed_at`` is the env step of the checkpoint it went on from."""

    __tablename__ = "attempts"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    resumed_at: Mapped[Count]
    started: Mapped[Time]


class Round(Base):
    """A round of synthesis."""

    __tablename__ = "rounds"
    __table_args__ = (UniqueConstraint("run_id", "round"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[Count]
    round: Mapped[Count]
    status: Mapped[str]
    started: Mapped[Time]
    ended: Mapped[Time | None]
    selected_candidate_id: Mapped[int | None] = mapped_column(
        WholeNumber, ForeignKey("candidates.id")
    )
    reason: Mapped[str | None]
    advice: Mapped[str | None]

    @property
    def finished(self) -> bool:
        """Whether it ended in a judgement."""
        return self.status == "finished"


class Candidate(Base):
    """One reply of the coder with its verdict. ``repair`` 0 is the first reply of its slot."""

    __tablename__ = "candidates"
    __table_args__ = (UniqueConstraint("run_id", "round", "slot", "repair"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[Count]
    round: Mapped[Count]
    slot: Mapped[Count]
    repair: Mapped[Count]
    parent_id: Mapped[int | None] = mapped_column(WholeNumber, ForeignKey("candidates.id"))
    source: Mapped[str]
    graph_hash: Mapped[str | None]
    stage: Mapped[str]
    verdict: Mapped[str]
    rule: Mapped[str | None]
    duplicate_of: Mapped[int | None] = mapped_column(WholeNumber, ForeignKey("candidates.id"))
    report: Mapped[Object] = _json(records.Check)
    """The check's report as JSON, the gated graph included when it was accepted."""
    created: Mapped[Time]

    @cached_property
    def check(self) -> records.Check:
        """``report``, typed."""
        return records.Check.model_validate(self.report)


_CONVERSATION = re.compile(
    r"r(\d{1,6})(?:\.s(\d{1,6})|\.(select|advice|gate)(?:\.\d{1,6})?)?(?:\.\d{1,6})?(-\d{1,6})?"
)
"""Round, slot, kind of request to an evaluator, mark of a shortened conversation."""


class ChatMessage(Base):
    """One turn of a conversation with a model; (conversation, position) orders the turns."""

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("run_id", "conversation", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[Count]
    conversation: Mapped[str]
    position: Mapped[Count]
    role: Mapped[str]
    content: Mapped[str]
    model: Mapped[str | None]
    seed: Mapped[Count | None]
    prompt_tokens: Mapped[Count | None]
    completion_tokens: Mapped[Count | None]
    latency_s: Mapped[float | None]
    streaming: Mapped[bool]
    """True while the reply is still being written."""
    request: Mapped[Object | None] = _json(records.Request, optional=True)
    """For a reply: what a replay needs besides the turns before it (key, n, index, temperature)."""
    created: Mapped[Time]

    @cached_property
    def _place(self) -> tuple[str | None, ...]:
        found = _CONVERSATION.fullmatch(self.conversation)
        return found.groups() if found is not None else (None,) * 4

    @property
    def round(self) -> int | None:
        """The round that it belongs to; None in a conversation of no known kind."""
        return None if self._place[0] is None else int(self._place[0])

    @property
    def slot(self) -> int | None:
        """The candidate's place in the round; None in an opening or an evaluator's conversation."""
        return None if self._place[1] is None else int(self._place[1])

    @property
    def asked(self) -> str:
        """``select``, ``advice`` or ``gate`` in an evaluator's conversation, else empty."""
        return self._place[2] or ""

    @cached_property
    def request_key(self) -> str:
        """Key of the request that a reply answers, shared by the replies to one request."""
        return records.Request.model_validate(self.request or {}).key

    @property
    def shortened(self) -> bool:
        """Whether earlier turns are left out of the conversation."""
        return self._place[3] is not None


class Verdict(Base):
    """A judgement with its reasons: ``pilot`` scores, a ``selection``, a ``gate`` decision."""

    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("run_id", "kind", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[Count]
    kind: Mapped[str]
    key: Mapped[str]
    """Tells verdicts of a kind apart, such as ``round-1`` or a graph hash with its settings."""
    round: Mapped[Count | None]
    candidate_id: Mapped[int | None] = mapped_column(WholeNumber, ForeignKey("candidates.id"))
    score: Mapped[float | None]
    reason: Mapped[Object] = _json(records.Reason)
    created: Mapped[Time]

    @cached_property
    def said(self) -> records.Reason:
        """``reason``, typed."""
        return records.Reason.model_validate(self.reason)


class Metric(Base):
    """One number of a training at one step."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_series", "run_id", "name", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    attempt: Mapped[Count]
    env_steps: Mapped[Count]
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
    attempt: Mapped[Count]
    env_steps: Mapped[Count]
    wall_s: Mapped[float]
    returns: Mapped[list[float]]


class Command(Base):
    """A request to a running job: pause, resume, stop, approve, reject or stop-after-round."""

    __tablename__ = "commands"
    __table_args__ = (Index("ix_commands_run", "run_id", "acknowledged"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    name: Mapped[str]
    payload: Mapped[Object | None] = _json(records.Payload, optional=True)
    issued: Mapped[Time]
    acknowledged: Mapped[Time | None]


DAMAGE = "damage"
"""Key of a session's damaged rows: reasons by table and key."""


@event.listens_for(Base, "load", propagate=True)
def _note_damage(row: Base, context: QueryContext) -> None:
    words = row.damage
    if words:
        table = str(row.__tablename__)
        key = row.__mapper__.primary_key_from_instance(row)
        place = f"run {run_name(key[0])}"
        if table != "runs":
            place = f"row {'-'.join(map(str, key))} of {table}"
        context.session.info.setdefault(DAMAGE, {})[place] = words
