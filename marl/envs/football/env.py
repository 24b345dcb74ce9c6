"""Google Research Football: the left side's players against the game's own on the right.

The card (``env: {kind: football, options: {scenario: academy_3_vs_1_with_keeper}}``) names one of
gfootball's scenarios. The engines run in processes of their own, under a Python of their own (see
`marl.envs.football.install`), each of which plays its share of the batch, and show what happens in
memory that all of them share.

- The agents are as many players of the left side as the card has agents.
- Agents observe simple115v2; the state is the agents' observations, one after the other.
- All 19 actions are always available.
- The team is paid the sum of what gfootball pays the agents: scoring, and checkpoints unless the
  card's option ``rewards`` is ``scoring``.
- The card's ``metrics`` may take ``goal`` (1 in the step that scores) and ``conceded``.
- An episode ends where the scenario ends it, or at the card's horizon.

Episode k of instance i is begun with a seed made from (seed, i, k), from which all of it follows
together with the actions. Between episodes there is nothing to save but the number of episodes; the
inside of an episode in progress is not saved.

An engine whose process dies, fails or hangs is replaced. The episodes that it was playing are lost:
they end at once and do not count (`FootballEnv.lost`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Any, ClassVar

import torch
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.envs.football.engine import TOLD, VERSION, WIDTH, Facts
from marl.envs.football.install import NotInstalledError, football_python
from marl.envs.workers.memory import Layout
from marl.envs.workers.metrics import rule_of
from marl.envs.workers.pool import Program, WorkerError, WorkerPool
from marl.errors import SettingsError, TrainingError, near_names
from marl.memory import available_bytes
from marl.settings.env import FootballEnvConfig
from marl.streams import derive_seed
from prompts.cards import TaskCard

MOST_DEATHS = 10
"""In a row of one process, without an episode that came to its end, before a run stops."""

_REWARDS = ("scoring", "scoring,checkpoints")
_PROCESS_BYTES = 95 * 2**20
_ENGINE_BYTES = 55 * 2**20
"""What a process takes, and each engine in it on top."""


class FootballEnv(BatchedEnv):
    """A batch of football games in worker processes; see the module's text."""

    individual: ClassVar[bool] = True

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: FootballEnvConfig,
    ) -> None:
        self._task = f"task '{card.name}'"
        argument = json.dumps(_engine_options(card))
        try:
            python = football_python(config.python)
        except NotInstalledError as error:
            raise SettingsError(f"{self._task}: {error}") from None
        workers = _workers(self._task, config.workers, num_envs)
        program = Program(
            "marl.envs.football.engine:engines_of",
            argument,
            python,
            {"SDL_VIDEODRIVER": "dummy", "PYTHONUNBUFFERED": "1"},
            keep_words=True,
        )
        try:
            self._pool = WorkerPool(program, num_envs, workers, config.worker_timeout_s)
            self._facts = Facts(**self._pool.build())
            self._require_card(card)
            real = str(dtype).removeprefix("torch.")
            layout = Layout.of_batch(
                num_envs,
                card.n_agents,
                card.n_actions,
                WIDTH,
                card.state_dim,
                real,
                len(card.metrics),
            )
            handle = layout.create()
            try:
                self._shared = layout.arrays(handle)
                self._pool.attach(layout, handle, metrics=[rule_of(m) for m in card.metrics])
            finally:
                os.close(handle)
        except WorkerError as error:
            raise SettingsError(f"{self._task}: {python}: {error}") from None
        self._card, self._restart_every = card, config.restart_every
        self._slices = self._pool.slices
        self._deaths = [0] * len(self._slices)  # in a row
        self._played = [0] * len(self._slices)  # episodes of the process that is there now
        self._dropped, self._news = 0, list[str]()
        super().__init__(
            num_envs=num_envs,
            n_agents=card.n_agents,
            n_actions=card.n_actions,
            obs_dim=WIDTH,
            state_dim=card.state_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )

    def _require_card(self, card: TaskCard) -> None:
        """Refuse a card of something else; the engines end with it."""
        wrong = None
        if card.n_actions != self._facts.n_actions:
            wrong = f"football has {self._facts.n_actions} actions, and n_actions {card.n_actions}"
        elif unknown := [m.info for m in card.metrics if m.info not in TOLD]:
            wrong = f"football tells {' and '.join(TOLD)}, and a metric takes {unknown[0]}"
        elif card.state_dim != card.n_agents * WIDTH:
            wrong = (
                f"the state is {WIDTH} numbers for each of {card.n_agents} agents, "
                f"{card.n_agents * WIDTH} in all, and the card's has {card.state_dim}"
            )
        if wrong is not None:
            self._pool.close()
            raise SettingsError(f"{self._task}: {wrong}: correct the card")

    def reseed(self, seed: int, first: int = 0) -> None:
        super().reseed(seed, first)
        self._seed, self._first = derive_seed(seed, "football"), first
        self._episodes = torch.zeros(self.num_envs, dtype=torch.int64)
        self._lost = torch.zeros(self.num_envs, dtype=torch.bool)

    @property
    def lost(self) -> Tensor:
        return self._lost.to(self.device)

    @property
    def busy_s(self) -> float:
        """CPU seconds that the engines themselves have taken so far, all of them together."""
        return float(self._shared["busy_s"].sum())

    def _restart(self, mask: Tensor) -> None:
        mask = mask.cpu()
        for at, (first, last) in enumerate(self._slices):
            begun = int(mask[first:last].sum())
            if (mask & (self._episodes > 0) & ~self._lost)[first:last].any():
                self._deaths[at] = 0
            idle = bool((mask | self._done.cpu())[first:last].all())
            if begun and idle and self._played[at] >= self._restart_every:
                self._replace(at)
            self._played[at] += begun
        self._episodes = self._episodes + mask
        self._lost = self._lost & ~mask
        seeds = self._shared["seeds"]
        for row in mask.nonzero().flatten().tolist():
            # 31 bits, which the engine's generator takes.
            seeds[row] = derive_seed(self._seed, self._first + row, int(self._episodes[row])) >> 33
        for at in self._command("reset", mask):
            self._begin_again(at, mask)

    def _begin_again(self, at: int, mask: Tensor) -> None:
        """Reset in a new process what the old one died of resetting: no episode had begun there.

        Its instances outside the mask that were in the middle of one have lost it.
        """
        first, last = self._slices[at]
        own = torch.zeros_like(mask)
        own[first:last] = True
        stranded = own & ~mask & ~self._done.cpu()
        self._lost |= stranded
        self._done = self._done | stranded.to(self.device)
        self._dropped += int(stranded.sum())
        while self._command("reset", own & mask, [at]):
            pass

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._shared["actions"][:] = actions.cpu().numpy()
        before = active.cpu()
        failed = self._command("step", before)
        reward, terminated = self._read("reward", self.dtype), self._read("terminated", torch.bool)
        for at in failed:
            first, last = self._slices[at]
            self._lost[first:last] |= before[first:last]
        lost = self._lost.to(self.device) & active
        return reward.masked_fill(lost, 0), terminated | lost

    def _individual_rewards(self) -> Tensor:
        return self._read("rewards", self.dtype)

    def _command(
        self, command: str, mask: Tensor, workers: Collection[int] | None = None
    ) -> dict[int, str]:
        """Have the workers do something with the instances of ``mask``; those that fail, replaced.

        Returns:
            Why workers failed, by their number.

        Raises:
            TrainingError: one of them has failed too often.
        """
        self._shared["active"][:] = mask.numpy()
        asked = range(len(self._slices)) if workers is None else workers
        try:
            failed = self._pool.attempt(command, asked)
        except WorkerError as error:
            raise TrainingError(f"{self._task}: {error}") from None
        for at, why in failed.items():
            first, last = self._slices[at]
            lost = int(mask[first:last].sum()) if command == "step" else 0
            self._dropped += lost
            what = f"{lost} of its episodes dropped ({self._dropped} in all)" if lost else "no loss"
            self._news.append(f"{self._task}: {why}; replaced, {what}")
            self._died(at, why)
            self._replace(at)
        return failed

    def _died(self, at: int, why: str) -> None:
        self._deaths[at] += 1
        if self._deaths[at] >= MOST_DEATHS:
            self._pool.close()
            raise TrainingError(
                f"{self._task}: {MOST_DEATHS} deaths in a row without a whole episode: {why}"
            )

    def _replace(self, at: int) -> None:
        self._played[at] = 0
        try:
            while (why := self._pool.replace(at)) is not None:
                self._died(at, why)
        except WorkerError as error:
            raise TrainingError(f"{self._task}: {error}") from None

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

    def news(self) -> list[str]:
        told, self._news = self._news, []
        return told

    def remarks(self) -> dict[str, str]:
        count, engines = len(self._slices), self.num_envs
        size = (count * _PROCESS_BYTES + engines * _ENGINE_BYTES) / 1e9
        return {
            "football": f"{self._task}: {engines} engines of gfootball {VERSION} in {count} "
            f"processes take {size:.1f} GB, and as many again for evaluations"
        }

    def close(self) -> None:
        """Stop the engines; the environment is of no further use."""
        self._pool.close()

    def _world(self) -> dict[str, Tensor]:
        if not self._done.all():
            raise ValueError("football can be saved between episodes only")
        return {"episodes": self._episodes}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        if not self._done.all():
            raise ValueError("football can go on between episodes only")
        self._episodes = world["episodes"].cpu()


def _engine_options(card: TaskCard) -> dict[str, Any]:
    """What `marl.envs.football.engine.Engine` is made with.

    Raises:
        SettingsError: the card's options are not football's.
    """
    options = dict(card.env.options)
    for key in options:
        if key not in ("scenario", "rewards"):
            hint = near_names(key, ["scenario", "rewards"])
            raise SettingsError(f"task '{card.name}': unknown football option '{key}': {hint}")
    scenario = options.get("scenario")
    if not isinstance(scenario, str):
        raise SettingsError(
            f"task '{card.name}': env.options.scenario names what is played, such as "
            "academy_pass_and_shoot_with_keeper"
        )
    rewards = options.get("rewards", _REWARDS[-1])
    if rewards not in _REWARDS:
        hint = near_names(str(rewards), _REWARDS)
        raise SettingsError(f"task '{card.name}': env.options.rewards is '{rewards}': {hint}")
    return {"scenario": scenario, "agents": card.n_agents, "checkpoints": rewards != _REWARDS[0]}


def _workers(task: str, wanted: int | None, engines: int) -> int:
    """How many processes: as wanted, else one for each CPU; no more than fit the memory.

    Raises:
        SettingsError: not even one does, or not as many as wanted.
    """
    room = available_bytes(torch.device("cpu")) - engines * _ENGINE_BYTES
    fit = max(0, room) // _PROCESS_BYTES
    count = min(wanted or len(os.sched_getaffinity(0)), engines)
    if fit >= count or (wanted is None and fit):
        return min(count, fit)
    needed = (count * _PROCESS_BYTES + engines * _ENGINE_BYTES) / 1e9
    raise SettingsError(
        f"{task}: {engines} engines in {count} processes need {needed:.1f} GB, and "
        f"{available_bytes(torch.device('cpu')) / 1e9:.1f} GB are available: lower env.num_envs"
        + (" or env.workers" if wanted else "")
    )
