"""The tables of the first release.

Migrations spell out their tables instead of importing the current ones, which move on. Constraints
are named by the convention of `qllm.store.schema.Base`, which Alembic knows.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from qllm.store.types import AnyText, FiniteFloat

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT, REAL, JSON = AnyText(), FiniteFloat(), sa.JSON()


def _columns(**types: Any) -> list[sa.Column[Any]]:
    """Columns by name; the type of one that may be NULL stands in a list."""
    return [
        sa.Column(name, type_[0], nullable=True)
        if isinstance(type_, list)
        else sa.Column(name, type_, nullable=False)
        for name, type_ in types.items()
    ]


def _of_run(table: str, *constraints: sa.Constraint, **types: Any) -> None:
    """Create a table whose rows belong to a run and have numbers of their own."""
    op.create_table(
        table,
        sa.Column("id", INT, primary_key=True),
        *_columns(run_id=INT, **types),
        _refers("run_id", "runs"),
        *constraints,
    )


def _refers(column: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"])


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "runs",
        sa.Column("id", INT, primary_key=True, autoincrement=True),
        *_columns(
            parent_id=[INT], kind=TEXT, task=TEXT, algo=[TEXT], seed=[INT], status=TEXT,
            attempt=INT, config=JSON, command=TEXT, versions=JSON, inputs=JSON,
            created=REAL, started=[REAL], ended=[REAL], error=[TEXT],
            host=[TEXT], boot_id=[TEXT], pid=[INT], process_started=[REAL], beat=[REAL],
            env_steps=INT, total_steps=INT, env_steps_per_s=[REAL], result=[JSON],
        ),
        _refers("parent_id", "runs"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("ix_runs_parent", "runs", ["parent_id"])
    op.create_table(
        "attempts",
        sa.Column("run_id", INT, primary_key=True, autoincrement=False),
        sa.Column("attempt", INT, primary_key=True, autoincrement=False),
        *_columns(resumed_at=INT, started=REAL),
        _refers("run_id", "runs"),
    )
    _of_run(
        "candidates",
        sa.UniqueConstraint("run_id", "round", "slot", "repair"),
        _refers("parent_id", "candidates"),
        _refers("duplicate_of", "candidates"),
        attempt=INT, round=INT, slot=INT, repair=INT, parent_id=[INT], source=TEXT,
        graph_hash=[TEXT], stage=TEXT, verdict=TEXT, rule=[TEXT], duplicate_of=[INT], report=JSON,
        created=REAL,
    )  # fmt: skip
    _of_run("commands", name=TEXT, payload=[JSON], issued=REAL, acknowledged=[REAL])
    op.create_index("ix_commands_run", "commands", ["run_id", "acknowledged"])
    _of_run("evaluations", attempt=INT, env_steps=INT, wall_s=REAL, returns=JSON)
    op.create_index("ix_evaluations_run", "evaluations", ["run_id", "id"])
    _of_run(
        "messages",
        sa.UniqueConstraint("run_id", "conversation", "position"),
        attempt=INT, conversation=TEXT, position=INT, role=TEXT, content=TEXT, model=[TEXT],
        seed=[INT], prompt_tokens=[INT], completion_tokens=[INT], latency_s=[REAL],
        streaming=sa.Boolean(), request=[JSON], created=REAL,
    )  # fmt: skip
    _of_run("metrics", attempt=INT, env_steps=INT, wall_s=REAL, name=TEXT, value=[REAL])
    op.create_index("ix_metrics_series", "metrics", ["run_id", "name", "id"])
    _of_run(
        "rounds",
        sa.UniqueConstraint("run_id", "round"),
        _refers("selected_candidate_id", "candidates"),
        attempt=INT, round=INT, status=TEXT, started=REAL, ended=[REAL],
        selected_candidate_id=[INT], reason=[TEXT], advice=[TEXT],
    )  # fmt: skip
    _of_run(
        "verdicts",
        sa.UniqueConstraint("run_id", "kind", "key"),
        _refers("candidate_id", "candidates"),
        attempt=INT, kind=TEXT, key=TEXT, round=[INT], candidate_id=[INT], score=[REAL],
        reason=JSON, created=REAL,
    )  # fmt: skip
