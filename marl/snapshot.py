"""What a checkpoint of a training says about itself, and whether it belongs where it is loaded."""

from __future__ import annotations

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from marl.config import TrainConfig
from marl.errors import CheckpointError
from marl.events import Evaluated
from marl.replay import Replay
from marl.settings import Settings
from prompts.cards import TaskCard

FORMAT = 1


class Facts(Settings):
    """The part of a checkpoint that is not tensors."""

    format: int = FORMAT
    task: str
    schema_hash: str
    torch: str
    seed: int
    config: TrainConfig
    env_steps: int
    wall_s: float
    finished: bool
    evaluations: tuple[tuple[int, float, tuple[float, ...]], ...]
    logged_at: int
    sums: dict[str, tuple[float, int]]

    def evaluated(self) -> list[Evaluated]:
        """The evaluations so far, as events."""
        return [Evaluated(*entry) for entry in self.evaluations]


def read_facts(data: object, card: TaskCard | None) -> Facts:
    """The facts of a checkpoint, checked against the task at hand (if it is known already).

    Raises:
        CheckpointError: another format, another task or another version of it, or damaged.
    """
    version = data.get("format") if isinstance(data, dict) else None
    if version != FORMAT:
        raise CheckpointError(f"checkpoint of format {version}; this version reads {FORMAT}")
    try:
        facts = Facts.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"damaged checkpoint: {where}: {first['msg']}") from None
    if card is not None and (facts.task, facts.schema_hash) != (card.name, card.schema_hash()):
        what = "a changed card of it" if facts.task == card.name else f"'{card.name}'"
        raise CheckpointError(f"the checkpoint is of task '{facts.task}', not of {what}")
    return facts


@torch.no_grad()
def probe_credit(credit: nn.Module | None, replay: Replay) -> dict[str, Tensor]:
    """The credit function's values at states of the newest episodes, to recognise it by.

    Returns:
        ``credit_probe`` ``[N]``, or nothing where there is no function or no episode.
    """
    episodes = replay.newest(8)
    if credit is None or episodes.count == 0:
        return {}
    state = episodes.state.flatten(0, 1)
    n = episodes.actions.shape[-1]
    ramp = torch.linspace(-3, 3, len(state) * n, dtype=state.dtype, device=state.device)
    return {"credit_probe": credit(ramp.view(-1, n), state).flatten()}


def same_credit(credit: nn.Module | None, replay: Replay, tensors: dict[str, Tensor]) -> None:
    """Refuse to go on with another credit function than the checkpoint's.

    Raises:
        CheckpointError: the function's values differ from those recorded.
    """
    now, then = probe_credit(credit, replay).get("credit_probe"), tensors.get("credit_probe")
    if now is None or then is None:
        return
    if now.shape != then.shape or not torch.allclose(now.cpu(), then, rtol=1e-4, atol=1e-4):
        raise CheckpointError(
            "the credit function is not the one that the checkpoint was trained with: "
            "resume with the same one"
        )
