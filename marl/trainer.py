"""The training loop, resumed as if it had never stopped; above 400 lines, to be read as one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Build, Draw, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.allocator import keep_freed_memory
from marl.batch import Batch
from marl.checkpoint import Checkpoint, keep_numbers, open_checkpoint, part_of, save_checkpoint
from marl.clock import PARTS, Clock
from marl.credit_watch import CreditWatch
from marl.device import DTYPES, resolve_device
from marl.envs.registry import make_env
from marl.episodes import Episodes, own_rewards
from marl.errors import CheckpointError, TrainingError
from marl.evaluation import Evaluator, best_of, kept_metrics, with_metrics
from marl.events import (
    CheckpointSaved,
    Control,
    Emit,
    Evaluated,
    Metrics,
    Noticed,
    Progress,
    Started,
    TrainResult,
    go_on,
    ignore,
)
from marl.learner import Learner, NonFiniteError
from marl.means import Means
from marl.memory import require_room
from marl.replay import Replay
from marl.reward_scale import fixed_scale
from marl.rollout import collect
from marl.settings.exploration import epsilon_at
from marl.settings.train import TrainConfig
from marl.snapshot import (
    Facts,
    graph_hash,
    read_facts,
    require_own,
    require_sizes,
    require_unit,
    require_values,
)
from marl.streams import Streams, derive_seed
from marl.warm_start import Initial, begin_with
from marl.watch import QWatch, Watch
from prompts.cards import TaskCard

_PAUSE_S = 0.1
_PROGRESS_S = 0.2


class Trainer:
    """One training of one algorithm on one task with one seed.

    The same card, settings and seed give the same training on the same machine, whatever it is told
    by ``control`` in between, and however often it is killed and resumed from its checkpoints.

    Args:
        card: the task; where neither it nor the settings give the scale of its rewards, that is
            measured in random play first.
        config: the settings.
        seed: everything random follows from it.
        credit: QLLM's credit function, ``forward(agent_qs[N, n], state[N, s]) -> [N, 1]``.
        credit_watch: holds it against what is claimed of it.
        initial: networks to begin with, of another training.
        run_dir: where checkpoints go; without one nothing is written.
        emit: told what happens.
        control: asked once per rollout whether to go on.
        synchronise: charge GPU work to the part that caused it (slower; for benchmarks).

    Raises:
        SettingsError: settings that cannot work; nothing was begun.
    """

    def __init__(
        self,
        card: TaskCard,
        config: TrainConfig,
        seed: int,
        *,
        credit: nn.Module | None = None,
        credit_watch: CreditWatch | None = None,
        initial: Initial | None = None,
        run_dir: Path | str | None = None,
        emit: Emit = ignore,
        control: Control = go_on,
        synchronise: bool = False,
    ) -> None:
        config = config.on(card.env.kind)
        card = fixed_scale(card, config)
        self.card, self.config, self.seed = card, config, seed
        self.device, self.dtype = resolve_device(config.device), DTYPES[config.dtype]
        self.evaluations: list[Evaluated] = []
        self.clock = Clock(self.device if synchronise else None)
        self._credit, self._emit, self._control = credit, emit, control
        self._credit_watch, self._initial = credit_watch, initial
        self._q_watch = None if credit is None else QWatch(card)
        self._run_dir = None if run_dir is None else Path(run_dir)
        envs = config.env.num_envs
        self.env = make_env(
            card,
            envs,
            derive_seed(seed, "training"),
            self.device,
            self.dtype,
            config.env,
            individual=config.learner.individual,
        )
        require_room(config, self.env, self.device)
        self._evaluator = Evaluator(
            card, config.evaluation, config.env, seed, self.device, self.dtype
        )
        self._rng = Streams(derive_seed(seed, "exploration"), envs, self.device)
        self.algorithm = self._make_algorithm()
        if initial is not None:
            begin_with(self.algorithm, initial.networks)
        self.learner = Learner(self.algorithm, self.clock)
        self.replay = Replay(
            envs if self.algorithm.on_policy else config.learner.replay_capacity,
            self.env.horizon,
            n_agents=self.env.n_agents,
            n_actions=self.env.n_actions,
            obs_dim=self.env.obs_dim,
            state_dim=self.env.state_dim,
            seed=derive_seed(seed, "replay"),
            device=self.device,
            dtype=self.dtype,
            extras={**self.algorithm.extras, **own_rewards(config.learner, self.env.n_agents)},
        )
        self._means = Means()
        self._best: dict[str, Tensor] = {}  # the networks of the best evaluation
        self._finished, self._wall_before = False, 0.0
        self.env_steps = self._logged_at = self._saved_at = 0

    def _make_algorithm(self) -> Algorithm:
        config, env = self.config, self.env
        gamma = self.card.gamma if config.learner.gamma is None else config.learner.gamma
        sizes, credit = TaskSizes.of(self.card, env.obs_dim, env.agent_types), self._credit
        return make_algorithm(
            Build(config, sizes, gamma, env.horizon, self.seed, credit, self.device, self.dtype)
        )

    @classmethod
    def resume(
        cls,
        card: TaskCard,
        config: TrainConfig,
        seed: int,
        *,
        run_dir: Path | str,
        credit: nn.Module | None = None,
        credit_watch: CreditWatch | None = None,
        initial: Initial | None = None,
        emit: Emit = ignore,
        control: Control = go_on,
    ) -> Trainer:
        """A trainer that goes on from the newest checkpoint in ``run_dir``.

        Args:
            card, config, seed, credit: those that the training began with, but for the settings
                in `marl.snapshot.MAY_DIFFER`.
            initial: what it began with; the networks themselves are not needed again.
            credit_watch, emit, control: as for a new training.

        Raises:
            SettingsError: as for a new training.
            CheckpointError: no checkpoint, a damaged one, or one of another training.
        """
        with open_checkpoint(run_dir) as saved:
            facts = read_facts(saved.facts, card.env.kind)
            if card.reward.scale is None and facts.reward_scale is not None:
                card = card.in_unit(facts.reward_scale)  # measured when the training began
            begun = None if initial is None else initial.hash
            require_own(facts, card, config.on(card.env.kind), seed, graph_hash(credit), begun)
            require_unit(facts, card, config)
            trainer = cls(
                card, config, seed, credit=credit, credit_watch=credit_watch, initial=initial,
                run_dir=run_dir, emit=emit, control=control,
            )  # fmt: skip
            try:
                trainer._restore(saved, facts)
            except BaseException:
                trainer.env.close()
                raise
        return trainer

    @property
    def reward_scale(self) -> float:
        """What rewards are divided by."""
        assert self.card.reward.scale is not None  # fixed when the trainer was made
        return self.card.reward.scale

    @property
    def learnable_parameters(self) -> int:
        """Of all networks together."""
        return sum(p.numel() for p in self.learner.parameters)

    def run(self) -> TrainResult:
        """Train until the settings' steps are done or ``control`` says stop.

        Raises:
            TrainingError: a value became infinite or NaN; the batch is in the run's folder.
            CheckpointError: a checkpoint could not be written; the previous one is intact.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(self.config.threads)
        keep_freed_memory()
        try:
            return self._run()
        finally:
            torch.set_num_threads(threads)
            self._evaluator.close()

    def _run(self) -> TrainResult:
        self._begin = self._beat = time.perf_counter()
        self._beat_steps = self.env_steps
        actor = sum(p.numel() for p in self.algorithm.actor.parameters())
        self._emit(
            Started(
                algorithm=self.config.algorithm.name,
                device=str(self.device),
                env_steps=self.env_steps,
                total_steps=self.config.steps,
                learnable_parameters=self.learnable_parameters,
                agent_parameters=actor,
                mixer_parameters=self.learnable_parameters - actor,
            )
        )
        watch = None if self.env_steps else Watch(self.card, self.env)
        if watch is not None:
            self._tell(watch.remarks())
        while not self._finished:
            if not self._may_go_on():
                self._checkpoint()
                return self._result("stopped")
            if self._evaluation_due():
                self._evaluate()
            if self.env_steps >= self.config.steps:
                self._finished = True
                self._checkpoint()
                break
            episodes = self._roll_out_and_learn()
            self._tell(Noticed(text, text) for text in self.env.news())
            if watch is not None:
                self._tell(watch.look(episodes))
            self._report()
            if self.env_steps - self._saved_at >= self.config.checkpoint_every:
                self._checkpoint()
        if watch is not None:
            self._tell(watch.remarks())
        self._progress()
        return self._result("finished")

    def _tell(self, notices: Iterable[Noticed]) -> None:
        for notice in notices:
            self._emit(notice)

    def _may_go_on(self) -> bool:
        """Ask ``control``; wait while it says pause. False: stop."""
        paused = time.perf_counter()
        while (answer := self._control()) == "pause":
            time.sleep(_PAUSE_S)
        self._begin += time.perf_counter() - paused
        return answer != "stop"

    def _evaluation_due(self) -> bool:
        if not self.evaluations:
            return True
        last, every = self.evaluations[-1].env_steps, self.config.evaluation.every
        ended = self.env_steps >= self.config.steps and last < self.env_steps
        return ended or self.env_steps // every > last // every

    def _evaluate(self) -> None:
        last = self.env_steps >= self.config.steps
        found = self._evaluator.evaluate(self.algorithm.actor, len(self.evaluations), last=last)
        done = Evaluated(self.env_steps, self.wall_s, found.returns, found.metrics)
        self.evaluations.append(done)
        if best_of(self.evaluations) is done:
            self._best = {name: v.clone() for name, v in self.learner.networks().items()}
        self._emit(done)
        self._tell(Noticed(text, text) for text in self._evaluator.news())

    def _roll_out_and_learn(self) -> Episodes:
        epsilon = epsilon_at(self.config.exploration, self.env_steps)
        with self.clock.part("rollout"):
            episodes = None
            while episodes is None or episodes.count == 0:  # all may be lost at once
                policy = self.algorithm.policy(self.env.num_envs, self._rng, epsilon)
                episodes = collect(self.env, policy, individual=self.config.learner.individual)
            scaled = self.algorithm.prepare(episodes.in_unit(self.reward_scale))
            self.replay.add(scaled)
            self.env_steps += int(episodes.filled.sum())
        self._means.add("epsilon", epsilon)
        self._means.add("train_return", *episodes.returns().tolist())
        for name, values in self.env.metrics().items():
            self._means.add(f"train_{name}", *values[~self.env.lost].tolist())
        draws = self.algorithm.batches(scaled, self.replay)
        while True:
            with self.clock.part("sampling"):
                draw = next(draws, None)
            if draw is None:
                return episodes
            self._learn(draw)

    def _learn(self, draw: Draw) -> None:
        self._watch_credit(draw.episodes)
        try:
            metrics = self.learner.update(draw)
        except NonFiniteError as error:
            raise self._non_finite(error, draw.episodes) from None
        for name, value in metrics.items():
            self._means.add(name, value)
        if self._q_watch is not None:
            self._tell(self._q_watch.look(self.learner.largest_q, self.env_steps))

    def _watch_credit(self, batch: Episodes) -> None:
        """Look at the credit function before it is learned with; the first batch is rehearsed.

        Raises:
            TrainingError: it breaks what was claimed of it; the moment is in the run's folder.
        """
        if self._credit_watch is None:
            return
        update = self.learner.updates
        broken = self._credit_watch.check(
            update, batch, lambda some: self.algorithm.credit_moments(Batch.of(some))
        )
        if broken is not None:
            where = f"at step {self.env_steps}, before update {update + 1}"
            raise TrainingError(
                f"the credit function breaks its word {where}: {broken.text}; training stopped"
                + self._kept("credit", {"agent_qs": broken.agent_qs, "state": broken.state})
            )

    def _kept(self, what: str, tensors: dict[str, Tensor]) -> str:
        """The end of a message: the file that tensors were put into, if there is a folder."""
        if self._run_dir is None:
            return ""
        return keep_numbers(self._run_dir / f"{what}-{self.env_steps}.safetensors", tensors)

    def _non_finite(self, error: NonFiniteError, batch: Episodes) -> TrainingError:
        where = f"{error} in update {self.learner.updates + 1} at step {self.env_steps}"
        kept = self._kept("nonfinite", batch.named()) or "; lower learner.lr or check the rewards"
        return TrainingError(f"{where}: training stopped{kept}")

    def _report(self) -> None:
        if time.perf_counter() - self._beat >= _PROGRESS_S:
            self._progress()
        if self.env_steps - self._logged_at >= self.config.log_every:
            self._logged_at = self.env_steps
            self._emit(Metrics(self.env_steps, self.wall_s, self._means.take()))

    def _progress(self) -> None:
        now = time.perf_counter()
        rate = (self.env_steps - self._beat_steps) / max(now - self._beat, 1e-9)
        self._beat, self._beat_steps = now, self.env_steps
        self._emit(Progress(self.env_steps, self.config.steps, rate))

    @property
    def wall_s(self) -> float:
        """Seconds spent training so far, over all attempts, pauses left out."""
        return self._wall_before + time.perf_counter() - self._begin

    def _result(self, status: Literal["finished", "stopped"]) -> TrainResult:
        wall = self.wall_s
        return TrainResult(
            status=status,
            env_steps=self.env_steps,
            updates=self.learner.updates,
            env_steps_per_s=self.env_steps / wall,
            wall_s=wall,
            evaluations=tuple(self.evaluations),
            learnable_parameters=self.learnable_parameters,
            reward_scale=self.reward_scale,
            breakdown=self.clock.breakdown(time.perf_counter() - self._begin, PARTS),
        )

    def _checkpoint(self) -> None:
        if self._run_dir is None:
            return
        facts = Facts(
            task=self.card.name,
            schema_hash=self.card.schema_hash(),
            credit=graph_hash(self._credit),
            initial=None if self._initial is None else self._initial.hash,
            reward_scale=self.reward_scale,
            torch=torch.__version__,
            seed=self.seed,
            config=self.config,
            env_steps=self.env_steps,
            wall_s=self.wall_s,
            finished=self._finished,
            evaluations=tuple((e.env_steps, e.wall_s, e.returns) for e in self.evaluations),
            logged_at=self._logged_at,
            sums=self._means.state_dict(),
        )
        told, keep = facts.model_dump(mode="json"), self.config.keep_checkpoints
        keep += bool(keep) and self._saved_at == self.env_steps  # that one is no older one
        path = save_checkpoint(self._run_dir, self.state_dict(), told, keep)
        self._saved_at = self.env_steps
        self._emit(CheckpointSaved(str(path), self.env_steps))

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors that going on exactly needs: networks, optimiser, replay, generators, ..."""
        parts = {
            "learner": self.learner.state_dict(),
            "best": self._best,
            "replay": self.replay.state_dict(),
            "env": self.env.state_dict(),
            "exploration": self._rng.state_dict(),
            "evaluated": kept_metrics(self.evaluations),
        }
        return {f"{part}.{name}": v for part, state in parts.items() for name, v in state.items()}

    def _restore(self, saved: Checkpoint, facts: Facts) -> None:
        metrics = facts.metric_sizes(self.card)
        require_sizes(saved.sizes, self.state_dict(), self.learner.parameters, self.replay, metrics)
        tensors = saved.tensors()
        require_values(tensors, self.replay.capacity, self.env.n_actions)
        try:
            self.learner.load_state_dict(part_of(tensors, "learner"))
            self.replay.load_state_dict(part_of(tensors, "replay"))
            self.env.load_state_dict(part_of(tensors, "env"))
            self._rng.load_state_dict(part_of(tensors, "exploration"))
            kept, self._best = (part_of(tensors, name) for name in ("evaluated", "best"))
            self.evaluations = with_metrics(facts.evaluated(), kept)
        except (KeyError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(f"damaged: {error}") from None
        self.env_steps = self._saved_at = facts.env_steps
        self._finished = facts.finished
        self._wall_before, self._logged_at = facts.wall_s, facts.logged_at
        self._means.load_state_dict(facts.sums)
