"""The networks of one training as the beginning of another, whose optimiser, replay and exploration
are new."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from marl.algorithms.actor_critic import ActorCritic
from marl.algorithms.base import Algorithm, TaskSizes
from marl.algorithms.registry import algorithm_class
from marl.errors import CheckpointError, SettingsError
from marl.settings.train import TrainConfig
from marl.snapshot import differing_settings
from marl.trained import Trained

_SCALE = "state_scale.moments"
_IDS = "agent.encoder.weight"


@dataclass(frozen=True)
class Initial:
    """Networks that a training begins with."""

    hash: str
    """SHA-256 of them, by which checkpoints know them."""
    networks: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters by the algorithm's names; empty where a checkpoint has taken their place."""

    @property
    def whole(self) -> bool:
        """Whether more than the agents is in it."""
        return not all(name.startswith("agent.") for name in self.networks)


def initial_networks(trained: Trained, config: TrainConfig, algorithm: Algorithm) -> Initial:
    """What a new training can take over from another one.

    The agents, which must have the same network, observed features and actions; where all share it,
    there may be another number of them (`_renumbered`). Mixer, critics and the scale of states
    too, where the algorithm is the same one and all of them have the same sizes.

    Args:
        config, algorithm: of the new training.

    Raises:
        SettingsError: the agents do not fit; the message says what differs.
    """
    sizes, own = algorithm.sizes, dict(algorithm.named_parameters())
    differing = [*_other_kind(trained, config), *_other_agents(trained, config, sizes)]
    if differing:
        raise SettingsError(f"the networks do not fit: {'; '.join(differing)}")
    theirs = dict(trained.networks)
    if config.agent.agent_id and config.agent.share == "all":
        theirs[_IDS] = _renumbered(theirs[_IDS], trained.card.n_agents, sizes.n_agents)
    taken = {name: theirs[name] for name in own if name.startswith("agent.") and name in theirs}
    rest = own.keys() - taken.keys()
    same = config.algorithm.name == trained.config.algorithm.name
    if same and all(name in theirs and theirs[name].shape == own[name].shape for name in rest):
        taken |= {name: theirs[name] for name in rest}
        scale = algorithm.state_scale
        if scale is not None and scale.state_dict()["moments"].shape == theirs[_SCALE].shape:
            taken[_SCALE] = theirs[_SCALE]
    return Initial(networks_hash(taken), taken)


def _other_kind(trained: Trained, config: TrainConfig) -> list[str]:
    """Values of actions are no logits, and the other way round."""
    then, here = trained.config.algorithm, config.algorithm
    one, other = (issubclass(algorithm_class(own), ActorCritic) for own in (then, here))
    if one == other:
        return []
    said = {True: "whose agents give probabilities", False: "whose agents give values"}
    return [f"algorithm {then.label}, {said[one]}, here {here.label}, {said[other]}"]


def _other_agents(trained: Trained, config: TrainConfig, sizes: TaskSizes) -> list[str]:
    then, here = trained.config.agent.model_dump(), config.agent.model_dump()
    differing = [f"agent.{difference}" for difference in differing_settings(then, here)]
    return differing or trained.differences(sizes, by_number=config.agent.share != "all")


def _renumbered(weight: Tensor, before: int, now: int) -> Tensor:
    """The first layer ``[h, ... + before]``, whose last inputs are one-hot ids, for ``now`` agents.

    Agents keep the columns of their ids, and further ones get the mean of all.
    """
    ids = weight[:, -before:]
    more = ids.mean(1, keepdim=True).expand(-1, max(0, now - before))
    return torch.cat([weight[:, :-before], ids[:, :now], more], 1)


def networks_hash(networks: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    said = hashlib.sha256()
    for name, value in sorted(networks.items()):
        said.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        said.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return said.hexdigest()


@torch.no_grad()
def begin_with(algorithm: Algorithm, networks: Mapping[str, Tensor]) -> None:
    """Copy initial networks into an algorithm; its target networks follow them.

    Raises:
        CheckpointError: they are of another algorithm or task.
    """
    own, scale = dict(algorithm.named_parameters()), algorithm.state_scale
    try:
        for name, value in networks.items():
            if name == _SCALE and scale is not None:
                scale.load_state_dict({"moments": value})
            elif own[name].shape == value.shape:
                own[name].copy_(value)
            else:
                raise ValueError(f"{name} has another shape")
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the initial networks are another algorithm's: {error}") from None
    for online, target in algorithm.targets():
        for ours, slower in zip(online.parameters(), target.parameters(), strict=True):
            slower.copy_(ours)
