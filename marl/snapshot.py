"""What a checkpoint of a training says about itself, and whether it belongs where it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from marl.checkpoint import TensorSize, part_of
from marl.errors import CheckpointError
from marl.events import Evaluated
from marl.replay import Replay
from marl.settings.base import Settings
from marl.settings.stored import upgraded
from marl.settings.train import TrainConfig
from prompts.cards import TaskCard
from sandbox.runtime import CreditFunction

FORMAT = 4
"""Format 3 had settings as `marl.settings.stored` says. Formats 1 and 2, which are read but not
resumed, were of rewards that were raw or standardised; format 1 had no ``credit``."""

MAY_DIFFER = frozenset(
    {
        "device",
        "threads",
        "checkpoint_every",
        "keep_checkpoints",
        "log_every",
        "env.workers",
        "env.worker_timeout_s",
        "env.python",
        "env.restart_every",
    }
)
"""Settings that may differ between attempts: where and how the work is done, not what is learned.
"""

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Returns = Annotated[tuple[float, ...], Field(min_length=1)]


class Facts(Settings):
    """The part of a checkpoint that is not tensors."""

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    task: str
    schema_hash: str
    credit: str | None = None
    """Graph hash of the credit function; None without one, or where it is no credit graph."""
    initial: str | None = None
    """Hash of the networks that it began with; None where they were drawn from the seed."""
    reward_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """What rewards are divided by; None before format 3."""
    torch: str
    seed: int
    config: TrainConfig
    env_steps: Count
    wall_s: Seconds
    finished: bool
    evaluations: tuple[tuple[Count, Seconds, Returns], ...]
    logged_at: Count
    sums: dict[str, tuple[float, Annotated[int, Field(ge=1)]]]

    @model_validator(mode="after")
    def _in_order(self) -> Facts:
        steps = [entry[0] for entry in self.evaluations]
        if steps != sorted(set(steps)) or max([*steps, self.logged_at]) > self.env_steps:
            raise ValueError(f"evaluations or metrics after step {self.env_steps}, or out of order")
        return self

    def evaluated(self) -> list[Evaluated]:
        """The evaluations so far, as events."""
        return [Evaluated(*entry) for entry in self.evaluations]

    def metric_sizes(self, card: TaskCard) -> dict[str, TensorSize]:
        """Tensors that hold the metrics of those evaluations, where there are any."""
        if not self.evaluations:
            return {}
        most = max(len(returns) for _, _, returns in self.evaluations)
        size = TensorSize(torch.float64, (len(self.evaluations), most))
        return {f"evaluated.{metric.name}": size for metric in card.metrics}


def read_facts(data: object, kind: str = "") -> Facts:
    """The facts of a checkpoint.

    Args:
        data: as they were written.
        kind: of the task, if it is known.

    Raises:
        CheckpointError: another format, or damaged.
    """
    version = data.get("format") if isinstance(data, dict) else None
    if not isinstance(data, dict) or type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(f"format {version}, and this version reads 1 to {FORMAT}")
    config = data.get("config")
    if isinstance(config, dict) and version < FORMAT:
        data = {**data, "config": upgraded(config, kind)}
    try:
        return Facts.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["facts", *map(str, first["loc"])])
        raise CheckpointError(f"damaged: {where}: {first['msg']}") from None


def graph_hash(credit: nn.Module | None) -> str | None:
    """What a credit function is recognised by; None where it is no credit graph."""
    return credit.graph.graph_hash if isinstance(credit, CreditFunction) else None


def require_own(
    facts: Facts,
    card: TaskCard,
    config: TrainConfig,
    seed: int,
    credit: str | None,
    initial: str | None = None,
) -> None:
    """Refuse a checkpoint of another training.

    Args:
        facts: of the checkpoint.
        config: for the card's kind of task.
        credit: graph hash of the credit function, where there is one.
        initial: hash of the networks that the training begins with, where they are another's.

    Raises:
        CheckpointError: the message names everything that differs.
    """
    differing = list(_differences(facts, card, config, seed, credit))
    if facts.initial != initial:
        then, here = (str(networks)[:12] for networks in (facts.initial, initial))
        differing.append(f"initial networks {then}, here {here}")
    if differing:
        raise CheckpointError(f"it is of another training: {'; '.join(differing)}")
    most = config.steps + config.env.num_envs * card.horizon  # the last rollout may overshoot
    if facts.env_steps >= most or (facts.finished and facts.env_steps < config.steps):
        end = "finished " if facts.finished else ""
        raise CheckpointError(f"damaged: {end}at step {facts.env_steps:,} of {config.steps:,}")


def require_unit(facts: Facts, card: TaskCard, config: TrainConfig) -> None:
    """Refuse to go on in another unit of Q.

    Raises:
        CheckpointError: rewards were divided by another number, or were raw or standardised.
    """
    if facts.format < 3 or facts.reward_scale is None:
        raise CheckpointError(
            "an earlier version wrote it, which learned from raw or standardised rewards; this one "
            "divides them by a fixed scale, so that it can be looked at but not resumed: train anew"
        )
    here = config.learner.reward_scale or card.reward.scale
    if here != facts.reward_scale:
        raise CheckpointError(
            f"it is of another training: rewards divided by {facts.reward_scale}, here by {here}"
        )


def _differences(
    facts: Facts, card: TaskCard, config: TrainConfig, seed: int, credit: str | None
) -> Iterator[str]:
    if facts.task != card.name:
        yield f"task {facts.task}, here {card.name}"
    elif facts.schema_hash != card.schema_hash():
        yield f"another version of the card of task {card.name}"
    if facts.seed != seed:
        yield f"seed {facts.seed}, here {seed}"
    if facts.format > 1 and facts.credit != credit:
        then, here = (str(function)[:12] for function in (facts.credit, credit))
        yield f"credit function {then}, here {here}"
    yield from differing_settings(facts.config.model_dump(), config.model_dump(), MAY_DIFFER)


def differing_settings(
    then: Mapping[str, Any], now: Mapping[str, Any], may_differ: frozenset[str] = frozenset()
) -> Iterator[str]:
    """The settings that two configurations have otherwise, such as ``learner.lr 0.1, here 0.2``.

    Args:
        then, now: as ``model_dump`` gives them. What only one of them has counts for nothing.
        may_differ: settings, or groups of them, that are left out.
    """
    for name in sorted(then.keys() & now.keys() - may_differ):
        before, here = then[name], now[name]
        if isinstance(before, Mapping) and isinstance(here, Mapping):
            inner = {m.removeprefix(f"{name}.") for m in may_differ if m.startswith(f"{name}.")}
            inside = differing_settings(before, here, frozenset(inner))
            yield from (f"{name}.{difference}" for difference in inside)
        elif before != here:
            yield f"{name} {before}, here {here}"


def require_sizes(
    found: Mapping[str, TensorSize],
    fresh: Mapping[str, Tensor],
    parameters: Sequence[Tensor],
    replay: Replay,
    optional: Mapping[str, TensorSize],
) -> None:
    """Refuse tensors that this training cannot have, before any is read.

    Args:
        found: the checkpoint's.
        fresh: those of the training before its first step.
        parameters: what it trains, in Adam's order.
        replay: its replay, still empty.
        optional: tensors that may be there or not.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another dtype or shape.
    """
    expected = {name: TensorSize.of(tensor) for name, tensor in fresh.items()}
    if any(name.startswith("best.") for name in found):  # none before the first evaluation
        networks = part_of(expected, "learner")
        expected |= {f"best.{name}": size for name, size in networks.items()}
    if any(name.startswith("learner.optimiser.") for name in found):  # Adam has none at first
        for i, parameter in enumerate(parameters):
            own = TensorSize.of(parameter)
            moments = {"step": TensorSize(torch.float32, ()), "exp_avg": own, "exp_avg_sq": own}
            expected |= {f"learner.optimiser.{i}.{key}": size for key, size in moments.items()}
    expected |= {name: size for name, size in optional.items() if name in found}
    filled = found.get("replay.filled", expected["replay.filled"])
    episodes = min(replay.capacity, *filled.shape[:1])
    for name in (f"replay.{tensor}" for tensor in replay.names):
        dtype, shape = expected[name]
        expected[name] = TensorSize(dtype, (episodes, *shape[1:]))
    found = {name: size for name, size in found.items() if name != "credit_probe"}  # of format 1
    for name in sorted(expected.keys() | found.keys()):
        here, there = expected.get(name), found.get(name)
        if here != there:
            raise CheckpointError(
                f"damaged: tensor {name} is {_words(there)}, and this training has {_words(here)}"
            )


def _words(size: TensorSize | None) -> str:
    if size is None:
        return "not there"
    return f"{str(size.dtype).removeprefix('torch.')} {list(size.shape)}"


def require_values(tensors: Mapping[str, Tensor], capacity: int, n_actions: int) -> None:
    """Refuse counts and actions out of range, and networks that are not finite.

    Args:
        tensors: of sizes that have been believed.
        capacity: episodes that the replay holds.

    Raises:
        CheckpointError: the message names the tensor.
    """
    episodes, following = len(tensors["replay.filled"]), int(tensors["replay.next"])
    actions = tensors["replay.actions"]
    sound = {
        "replay.next": following in (range(capacity) if episodes == capacity else (episodes,)),
        "replay.actions": not episodes or 0 <= actions.min() <= actions.max() < n_actions,
        "learner.updates": int(tensors["learner.updates"]) >= 0,
    }
    networks = {k: v for k, v in tensors.items() if k.startswith(("learner.", "best."))}
    sound |= {f"{k}": bool(v.isfinite().all()) for k, v in networks.items() if k not in sound}
    for name, well in sound.items():
        if not well:
            raise CheckpointError(f"damaged: tensor {name} has values out of range")
