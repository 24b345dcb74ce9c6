"""The tables of the first release.

Migrations spell out their tables instead of importing the current ones, which move on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qllm.store.types import AnyText, FiniteFloat

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "runs",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("parent_id", INT, nullable=True),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("task", AnyText(), nullable=False),
        sa.Column("algo", AnyText(), nullable=True),
        sa.Column("seed", INT, nullable=True),
        sa.Column("status", AnyText(), nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("command", AnyText(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("created", FiniteFloat(), nullable=False),
        sa.Column("started", FiniteFloat(), nullable=True),
        sa.Column("ended", FiniteFloat(), nullable=True),
        sa.Column("error", AnyText(), nullable=True),
        sa.Column("host", AnyText(), nullable=True),
        sa.Column("boot_id", AnyText(), nullable=True),
        sa.Column("pid", INT, nullable=True),
        sa.Column("process_started", FiniteFloat(), nullable=True),
        sa.Column("beat", FiniteFloat(), nullable=True),
        sa.Column("env_steps", INT, nullable=False),
        sa.Column("total_steps", INT, nullable=False),
        sa.Column("env_steps_per_s", FiniteFloat(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["runs.id"], name=op.f("fk_runs_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_parent", "runs", ["parent_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, autoincrement=False, nullable=False),
        sa.Column("resumed_at", INT, nullable=False),
        sa.Column("started", FiniteFloat(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "candidates",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("round", INT, nullable=False),
        sa.Column("slot", INT, nullable=False),
        sa.Column("repair", INT, nullable=False),
        sa.Column("parent_id", INT, nullable=True),
        sa.Column("source", AnyText(), nullable=False),
        sa.Column("graph_hash", AnyText(), nullable=True),
        sa.Column("stage", AnyText(), nullable=False),
        sa.Column("verdict", AnyText(), nullable=False),
        sa.Column("rule", AnyText(), nullable=True),
        sa.Column("duplicate_of", INT, nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created", FiniteFloat(), nullable=False),
        sa.ForeignKeyConstraint(
            ["duplicate_of"], ["candidates.id"], name=op.f("fk_candidates_duplicate_of")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["candidates.id"], name=op.f("fk_candidates_parent_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_candidates_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidates")),
        sa.UniqueConstraint(
            "run_id", "round", "slot", "repair", name=op.f("uq_candidates_run_id_round_slot_repair")
        ),
    )
    op.create_table(
        "commands",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("name", AnyText(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=True),
        sa.Column("issued", FiniteFloat(), nullable=False),
        sa.Column("acknowledged", FiniteFloat(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_commands_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
    )
    op.create_index("ix_commands_run", "commands", ["run_id", "acknowledged"], unique=False)
    op.create_table(
        "evaluations",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("env_steps", INT, nullable=False),
        sa.Column("wall_s", FiniteFloat(), nullable=False),
        sa.Column("returns", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_evaluations_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    op.create_index("ix_evaluations_run", "evaluations", ["run_id", "id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("conversation", AnyText(), nullable=False),
        sa.Column("position", INT, nullable=False),
        sa.Column("role", AnyText(), nullable=False),
        sa.Column("content", AnyText(), nullable=False),
        sa.Column("model", AnyText(), nullable=True),
        sa.Column("seed", INT, nullable=True),
        sa.Column("prompt_tokens", INT, nullable=True),
        sa.Column("completion_tokens", INT, nullable=True),
        sa.Column("latency_s", FiniteFloat(), nullable=True),
        sa.Column("streaming", sa.Boolean(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.Column("created", FiniteFloat(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_messages_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "run_id",
            "conversation",
            "position",
            name=op.f("uq_messages_run_id_conversation_position"),
        ),
    )
    op.create_table(
        "metrics",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("env_steps", INT, nullable=False),
        sa.Column("wall_s", FiniteFloat(), nullable=False),
        sa.Column("name", AnyText(), nullable=False),
        sa.Column("value", FiniteFloat(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_metrics_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metrics")),
    )
    op.create_index("ix_metrics_series", "metrics", ["run_id", "name", "id"], unique=False)
    op.create_table(
        "rounds",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("round", INT, nullable=False),
        sa.Column("status", AnyText(), nullable=False),
        sa.Column("started", FiniteFloat(), nullable=False),
        sa.Column("ended", FiniteFloat(), nullable=True),
        sa.Column("selected_candidate_id", INT, nullable=True),
        sa.Column("reason", AnyText(), nullable=True),
        sa.Column("advice", AnyText(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rounds_run_id")),
        sa.ForeignKeyConstraint(
            ["selected_candidate_id"],
            ["candidates.id"],
            name=op.f("fk_rounds_selected_candidate_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("run_id", "round", name=op.f("uq_rounds_run_id_round")),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", INT, nullable=False),
        sa.Column("run_id", INT, nullable=False),
        sa.Column("attempt", INT, nullable=False),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("key", AnyText(), nullable=False),
        sa.Column("round", INT, nullable=True),
        sa.Column("candidate_id", INT, nullable=True),
        sa.Column("score", FiniteFloat(), nullable=True),
        sa.Column("reason", sa.JSON(), nullable=False),
        sa.Column("created", FiniteFloat(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_verdicts_candidate_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_verdicts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("run_id", "kind", "key", name=op.f("uq_verdicts_run_id_kind_key")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in (
        "verdicts",
        "rounds",
        "metrics",
        "messages",
        "evaluations",
        "commands",
        "candidates",
        "attempts",
        "runs",
    ):
        op.drop_table(name)
