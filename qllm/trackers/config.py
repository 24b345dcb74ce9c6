"""Settings of trackers. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marl.settings.base import Settings


class TrackingConfig(Settings):
    """Destinations of the trackers in ``log``."""

    project: str | None = Field(
        default=None,
        min_length=1,
        description="W&B's project and MLflow's experiment; null takes WANDB_PROJECT or "
        "MLFLOW_EXPERIMENT_NAME, else `qllm`",
    )
    wandb_mode: Literal["offline", "online", "disabled"] | None = Field(
        default=None,
        description="`offline` writes to the training's folder only, `online` sends to W&B; null "
        "takes WANDB_MODE, else `offline`",
    )
    mlflow_uri: str | None = Field(
        default=None,
        min_length=1,
        description="MLflow's tracking store: sqlite:///FILE, file:FOLDER or a server's URL; null "
        "takes MLFLOW_TRACKING_URI, else the file mlflow.db in the folder of the runs",
    )
