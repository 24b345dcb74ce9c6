"""Pilots: brief trainings that decide between candidates, all under the same conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from marl.algorithms.qllm import QllmConfig
from marl.algorithms.vdn import VdnConfig
from marl.errors import SettingsError, TrainingError
from marl.events import Evaluated, Event, Noticed, Progress, TrainResult
from marl.statistics import iqm, learning_curve, mean
from marl.trainer import Trainer
from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.jobs.credit import credit_watch
from qllm.jobs.session import Session
from qllm.jobs.synthesis_bridge import labelled
from synth.control import Interrupted
from synth.pilot import PilotRequest, PilotScore

EVALUATIONS = 5
"""Evaluations along one pilot training."""


class TrainingPilot:
    """Trains every candidate with every seed, with the settings that the real trainings will use.

    Only the length differs, and what follows from it: exploration is annealed over the same share
    of the steps, and evaluations are spread over them. Nothing is written to disk.
    """

    def __init__(
        self,
        session: Session,
        card: TaskCard,
        config: RunConfig,
        keep: Callable[[PilotRequest, PilotScore], None],
        alone: Callable[[RunConfig], AbstractContextManager[None]] = lambda config: nullcontext(),
        moved: Callable[[int, int], None] = lambda at, env_steps: None,
    ) -> None:
        """``keep`` is told every score as soon as it is known, so that none is lost; trainings run
        inside ``alone``, which gives them the device; ``moved`` is told the place of the function
        at work and its environment steps so far, all seeds together."""
        self._session, self._card, self._config, self._keep = session, card, config, keep
        self._alone, self._moved = alone, moved

    def __call__(
        self, candidates: Sequence[PilotRequest], seeds: Sequence[int], steps: int
    ) -> list[PilotScore]:
        """One score for each request, in the order of the requests.

        Raises:
            Interrupted: the job was told to stop.
        """
        shared = set(seeds) & set(self._config.seeds)
        assert not shared, f"pilot seeds {shared} would be compared again"
        total = len(candidates) * len(seeds) * steps
        with (
            self._alone(self._config),
            self._session.display.begin("pilot trainings", total) as bar,
        ):
            scores = []
            for at, request in enumerate(candidates):
                done = at * len(seeds) * steps

                def show(env_steps: int, at: int = at, done: int = done) -> None:
                    bar.update(done + env_steps, detail=labelled(candidates[at].key))
                    self._moved(at, env_steps)

                show(0)
                try:
                    score = self._score(request, seeds, steps, show)
                except Interrupted:
                    bar.finish("stopped")
                    raise
                scores.append(score)
                self._keep(request, score)
            bar.finish(f"{len(candidates)} functions, {len(seeds)} seeds each")
        return scores

    def _score(
        self,
        request: PilotRequest,
        seeds: Sequence[int],
        steps: int,
        show: Callable[[int], None],
    ) -> PilotScore:
        results: list[TrainResult] = []
        spent = 0
        for at, seed in enumerate(seeds):

            def hear(event: Event, before: int = at * steps) -> None:
                if isinstance(event, Progress):
                    show(before + event.env_steps)
                elif isinstance(event, Noticed):
                    self._session.notice(event.about, event.text)

            try:
                result = self._train(request, seed, steps, hear)
            except (TrainingError, SettingsError) as error:
                return PilotScore(request.key, None, None, None, env_steps=spent, error=str(error))
            if result.status == "stopped":
                raise Interrupted
            results.append(result)
            spent += result.env_steps
        return _score_of(request.key, [r.evaluations for r in results], spent)

    def _train(self, request: PilotRequest, seed: int, steps: int, emit: Any) -> TrainResult:
        from sandbox.runtime import CreditFunction

        function = watch = None
        if request.graph is not None:
            function = CreditFunction(request.graph)
            watch = credit_watch(request.graph, function, self._session.sandboxes.opened)
        trainer = Trainer(
            self._card,
            self._settings(request, steps),
            seed,
            credit=function,
            credit_watch=watch,
            emit=emit,
            control=self._session.control.training,
        )
        return trainer.run()

    def _algorithm(self, request: PilotRequest) -> QllmConfig | VdnConfig:
        """QLLM as it will be trained; its baseline learns with the same settings."""
        named = (self._config.algorithm, *self._config.algorithms)
        own = next((a for a in named if isinstance(a, QllmConfig)), QllmConfig())
        if request.graph is not None:
            return own
        return VdnConfig(lr=own.lr, batch_size=own.batch_size, num_envs=own.num_envs)

    def _settings(self, request: PilotRequest, steps: int) -> Any:
        config = self._config.train_config()
        algorithm = self._algorithm(request)
        share = min(1.0, steps / config.steps)
        return config.model_copy(
            update={
                "steps": steps,
                "algorithm": algorithm,
                "exploration": config.exploration.model_copy(
                    update={"anneal_steps": round(config.exploration.anneal_steps * share)}
                ),
                "evaluation": config.evaluation.model_copy(
                    update={"every": max(1, steps // EVALUATIONS)}
                ),
            }
        )


def _score_of(key: str, evaluations: Sequence[Sequence[Evaluated]], env_steps: int) -> PilotScore:
    last = [value for own in evaluations for value in own[-1].returns]
    curve = learning_curve([[(e.env_steps, e.returns) for e in own] for own in evaluations])
    return PilotScore(
        key,
        final_iqm=float(iqm(last)),
        final_mean=float(mean(last)),
        best_mean=max(point.mean for point in curve if point.env_steps > 0),
        curve=tuple((round(point.env_steps), point.mean) for point in curve),
        env_steps=env_steps,
        episodes=len(last),
    )
