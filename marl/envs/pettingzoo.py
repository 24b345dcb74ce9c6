"""Any PettingZoo parallel environment, through a user's card and an import path.

The card (``env: {kind: pettingzoo}``) says what the task is; what makes the environment is code and
comes from the user's own settings alone: ``env.factory=my_task.py:make_env``. The instances are
spread over worker processes, which show what happens in memory that all of them share.

- Agents are those of ``possible_agents``, in that order. One that is no longer in ``agents`` is
  dead: it sees zeros and has action 0 only, which is not passed on.
- Actions are discrete. An agent that has fewer of them than others has the missing ones masked; an
  ``action_mask`` in its info, or beside its ``observation`` in a Dict, masks more. A mask without
  any action means that the agent waits: it has action 0 only, which is passed on like any other.
  After the last step such a mask means nothing, and all actions count as available.
- Observations are flattened as gymnasium does it (Discrete and MultiDiscrete as one-hot, Tuple and
  Dict part by part), and padded with zeros to the widest agent's.
- The state is ``state()`` where that has as many numbers as the card declares, else all agents'
  observations one after the other, without padding: flattened likewise, or with what is discrete
  as numbers, whichever has as many.
- The team is paid the sum of the agents' rewards, as in EPyMARL; with the card's option
  ``reward: mean`` their mean.
- An agent's own reward is what the environment says, 0 where it says nothing, as of the dead.
- The card's ``metrics`` are read from the infos, one value for each metric and episode.
- An episode ends when no agent is left, or at the card's horizon. If one of the last agents left by
  truncation, the environment's own time limit has come, which ``env.time_limit`` turns into an end
  or a cut as it does the horizon.

Episode k of instance i is reset with a seed made from (seed, i, k), so that an instance's fate
depends neither on the number of instances nor on that of workers, provided that the environment
draws from a generator of its own which ``reset(seed)`` seeds. What an episode in progress looks
like inside cannot be saved; between episodes there is nothing to save but the number of episodes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.envs.workers.instance import Facts, StateSource
from marl.envs.workers.memory import Layout
from marl.envs.workers.metrics import rule_of
from marl.envs.workers.pool import Program, WorkerError, WorkerPool
from marl.errors import SettingsError, TrainingError, near_names
from marl.settings.env import PettingZooEnvConfig
from marl.streams import derive_seed
from prompts.cards import TaskCard

_REWARDS = ("sum", "mean")
_MOST_NAMES = 20
_T = TypeVar("_T")


class PettingZooEnv(BatchedEnv):
    """A batch of PettingZoo environments in worker processes; see the module's text."""

    individual: ClassVar[bool] = True

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: PettingZooEnvConfig,
    ) -> None:
        reward = _reward_option(card)
        if config.factory is None:
            raise SettingsError(
                f"task '{card.name}' is played by an environment of your own: set env.factory to "
                "what makes it, such as my_task.py:make_env or my_package.my_task:make_env"
            )
        workers = config.workers or len(os.sched_getaffinity(0))
        try:
            program = Program("marl.envs.workers.instance:instances_of", config.factory)
            pool = WorkerPool(program, num_envs, workers, config.worker_timeout_s)
            facts = Facts.of(pool.build())
        except WorkerError as error:
            raise SettingsError(f"env.factory={config.factory}: {error}") from None
        self._pool = pool
        try:
            state = _fitting_state(card, config.factory, facts)
            obs_dim = max(facts.obs_sizes)
            real = str(dtype).removeprefix("torch.")
            sizes = (card.n_agents, card.n_actions, obs_dim, card.state_dim)
            layout = Layout.of_batch(num_envs, *sizes, real, len(card.metrics))
            handle = layout.create()
            try:
                self._shared = layout.arrays(handle)
                pool.attach(
                    layout,
                    handle,
                    state=state,
                    mean=reward == "mean",
                    metrics=[rule_of(metric) for metric in card.metrics],
                )
            finally:
                os.close(handle)
        except (SettingsError, WorkerError) as error:
            pool.close()
            raise SettingsError(str(error)) from None
        self.agent_types = tuple(map(_type_of, facts.agents))
        self._card = card
        self._unused_state = None if state == "own" else facts.own_state
        super().__init__(
            num_envs=num_envs,
            n_agents=card.n_agents,
            n_actions=card.n_actions,
            obs_dim=obs_dim,
            state_dim=card.state_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )

    def reseed(self, seed: int, first: int = 0) -> None:
        super().reseed(seed, first)
        self._seed, self._first = derive_seed(seed, "pettingzoo"), first
        self._episodes = torch.zeros(self.num_envs, dtype=torch.int64)

    def _restart(self, mask: Tensor) -> None:
        mask = mask.cpu()
        self._episodes = self._episodes + mask
        seeds = self._shared["seeds"]
        for row in mask.nonzero().flatten().tolist():
            # 31 bits, which every generator takes.
            seeds[row] = derive_seed(self._seed, self._first + row, int(self._episodes[row])) >> 32
        self._command("reset", mask)

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._shared["actions"][:] = actions.cpu().numpy()
        self._command("step", active.cpu())
        # An episode that the environment cuts has its last step now, whatever the card's horizon.
        cut = self._read("cut", torch.bool) & active
        self._time = self._time.masked_fill(cut, self.horizon - 1)
        return self._read("reward", self.dtype), self._read("terminated", torch.bool)

    def _individual_rewards(self) -> Tensor:
        return self._read("rewards", self.dtype)

    def _command(self, command: str, mask: Tensor) -> None:
        self._shared["active"][:] = mask.numpy()
        self._asked(lambda: self._pool.ask(command))

    def _asked(self, question: Callable[[], _T]) -> _T:
        try:
            return question()
        except WorkerError as error:
            raise TrainingError(str(error)) from None

    def _read(self, name: str, dtype: torch.dtype) -> Tensor:
        """A copy of a shared array."""
        return torch.from_numpy(self._shared[name]).to(self.device, dtype, copy=True)

    def _observe(self) -> Observation:
        return Observation(
            self._read("obs", self.dtype),
            self._read("state", self.dtype),
            self._read("avail", torch.bool),
        )

    def metrics(self) -> dict[str, Tensor]:
        shown = self._read("metrics", torch.float64)
        return {metric.name: shown[:, i] for i, metric in enumerate(self._card.metrics)}

    def remarks(self) -> dict[str, str]:
        task, found = f"task '{self._card.name}'", {}
        if self._unused_state is not None:
            found["state"] = (
                f"{task}: the state is all observations one after the other, since they have the "
                f"card's {self.state_dim} numbers; the environment's state() has "
                f"{self._unused_state} and is not used"
            )
        if not self._card.metrics or not self._episodes.any():
            return found
        ever, names = self._asked(self._pool.told)
        for metric in (m for m, told in zip(self._card.metrics, ever, strict=True) if not told):
            found[f"metric {metric.name}"] = (
                f"{task}: no info has told '{metric.info}' so far, so that metric {metric.name} is "
                f"{metric.absent:g}; there was {', '.join(names[:_MOST_NAMES]) or 'nothing'}"
            )
        return found

    def close(self) -> None:
        """Stop the workers; the environment is of no further use."""
        self._pool.close()

    def _world(self) -> dict[str, Tensor]:
        if not self._done.all():
            raise ValueError("an environment of PettingZoo can be saved between episodes only")
        return {"episodes": self._episodes}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        if not self._done.all():
            raise ValueError("an environment of PettingZoo can go on between episodes only")
        self._episodes = world["episodes"].cpu()


def _type_of(agent: str) -> str:
    """An agent's name without its number: ``adversary`` for ``adversary_0``."""
    return re.sub(r"_?[0-9]+$", "", agent) or "agent"


def _reward_option(card: TaskCard) -> Any:
    for key in card.env.options:
        if key != "reward":
            hint = near_names(key, ["reward"])
            raise SettingsError(f"task '{card.name}': unknown pettingzoo option '{key}': {hint}")
    reward = card.env.options.get("reward", "sum")
    if reward not in _REWARDS:
        hint = near_names(str(reward), _REWARDS)
        raise SettingsError(f"task '{card.name}': env.options.reward is '{reward}': {hint}")
    return reward


def _fitting_state(card: TaskCard, factory: str, facts: Facts) -> StateSource:
    """What of the environment is the state.

    Raises:
        SettingsError: the environment is not the one that the card describes.
    """
    wrong = f"task '{card.name}': env.factory={factory} makes an environment"
    if len(facts.agents) != card.n_agents:
        raise SettingsError(
            f"{wrong} of {len(facts.agents)} agents ({', '.join(facts.agents)}), "
            f"and the card says n_agents: {card.n_agents}"
        )
    if max(facts.n_actions) != card.n_actions:
        raise SettingsError(
            f"{wrong} of {max(facts.n_actions)} actions, and the card says n_actions: "
            f"{card.n_actions}"
        )
    flat, plain = sum(facts.obs_sizes), sum(facts.plain_sizes)
    sizes: dict[StateSource, int | None] = {"own": facts.own_state, "flat": flat, "plain": plain}
    for source, size in sizes.items():
        if size == card.state_dim:
            return source
    own = "no state()" if facts.own_state is None else f"a state() of {facts.own_state} numbers"
    discrete = f" ({plain} with what is discrete as numbers)" if plain != flat else ""
    raise SettingsError(
        f"{wrong} with {own} and observations of {flat} numbers in all{discrete}, and the card's "
        f"state has {card.state_dim}: its slices must add up to one of them"
    )
