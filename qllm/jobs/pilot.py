"""Pilots: brief trainings that decide between candidates, all under the same conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import fmean

from marl.events import Event, Noticed, Progress
from marl.settings.algorithms import VdnConfig
from marl.settings.train import TrainConfig
from marl.statistics import learning_curve, summarise_seed
from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.display import Bar
from qllm.executors.base import ON_THIS_MACHINE, open_executor
from qllm.jobs.crew import Crew, Listener
from qllm.jobs.messages import PilotEnded, PilotOrder
from qllm.jobs.parallel import warn_of_crowding
from qllm.jobs.pilot_crew import PilotCrew
from qllm.jobs.pilot_executor import ExecutorCrew
from qllm.jobs.pilot_training import train_pilot
from qllm.jobs.session import Session
from qllm.store.store import Store
from qllm.units import count, duration
from synth.candidates import labelled
from synth.config import SynthConfig
from synth.control import Interrupted
from synth.pilot import BASELINE_KEY, PilotPlan, PilotRequest, PilotScore

EVALUATIONS = 5
"""Evaluations along one pilot training."""

_LOOKED_AT = 200
"""Newest trainings among which one of the same task is looked for."""


def pilot_plan(config: RunConfig, card: TaskCard) -> PilotPlan:
    """The length of a search's pilot trainings; see `synth.pilot.PilotPlan.of`."""
    train = _training(config)
    return PilotPlan.of(
        config.synth,
        rollout=train.env.num_envs * card.horizon,
        num_envs=train.env.num_envs,
        batch_size=train.learner.batch_size,
        updates_per_rollout=train.learner.updates_per_rollout,
        steps=train.steps,
    )


def pilot_cost(plan: PilotPlan, synth: SynthConfig, update_s: float | None = None) -> str:
    """Cost of the pilots of a whole search, if every reply is accepted, in words.

    Args:
        update_s: seconds of training for each update, where something is known of them.
    """
    functions = synth.rounds * synth.candidates + len(synth.start)
    trainings = (functions + synth.pilot_baseline) * synth.pilot_seeds
    what = f"{functions} functions" + (" and the plain sum" if synth.pilot_baseline else "")
    text = (
        f"pilots: up to {what} x {synth.pilot_seeds} seeds x {plan.steps:,} environment steps"
        f" (about {plan.updates:,} updates each): about {count(trainings * plan.steps)} steps"
    )
    if update_s is not None:
        text += f", roughly {duration(trainings * plan.updates * update_s)}"
    return text


def seconds_per_update(store: Store, task: str) -> float | None:
    """Of the newest training of a task that has finished here; None where there is none."""
    for run in store.runs.listed(kind="train", limit=_LOOKED_AT):
        updates, wall = ((run.result or {}).get(key) for key in ("updates", "wall_s"))
        if run.task == task and updates and wall:
            return float(wall) / int(updates)
    return None


def _training(config: RunConfig) -> TrainConfig:
    """QLLM's training that the pilots stand for."""
    return config.for_training("qllm", config.seeds[0]).train_config()


class TrainingPilot:
    """Trains every candidate with every seed, with the settings that the real trainings will use.

    Only the length differs, and what follows from it: there may be more updates a rollout (see
    `pilot_plan`), exploration is annealed over the same share of the steps, and evaluations are
    spread over them. Nothing is written to disk. With ``parallel`` above 1 trainings run in
    processes of their own, with the session's executor they run there, until it is closed; the
    scores are the same, and are kept in the order of the requests.
    """

    def __init__(
        self,
        session: Session,
        card: TaskCard,
        config: RunConfig,
        plan: PilotPlan,
        keep: Callable[[PilotRequest, PilotScore], None],
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
        moved: Callable[[int, int], None] = lambda at, env_steps: None,
        *,
        logs: Path,
    ) -> None:
        """``keep`` is told every score as soon as it is known, so that none is lost; trainings run
        inside ``alone``, which gives them the device; ``moved`` is told the place of the function
        at work and its environment steps so far, all seeds together; ``logs`` is the folder for
        what processes print."""
        self._logs = logs
        self._session, self._card, self._config, self._keep = session, card, config, keep
        self._plan = plan
        self._alone, self._moved = alone, moved
        self._crew: Crew | None = None
        elsewhere = session.executor
        if elsewhere is not None and elsewhere.name in ON_THIS_MACHINE:
            elsewhere = None  # as this job does them anyway
        self._elsewhere = elsewhere
        self._apart = elsewhere is not None or config.parallel > 1
        self._where = elsewhere.name if elsewhere else f"{config.parallel} at once"
        self._begun: dict[tuple[str, int, int], int] = {}
        """Places of trainings that were begun ahead, by function, seed and steps."""

    def begin(self, requests: Sequence[PilotRequest], seeds: Sequence[int], steps: int) -> None:
        """Train expected requests ahead, as far as processes are free."""
        if self._apart:
            self._take(requests, seeds, steps)

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()
            self._crew = None
            self._begun.clear()

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
            self._alone(),
            self._session.display.begin("pilot trainings", total) as bar,
        ):
            try:
                if self._apart:
                    scores = self._together(candidates, seeds, steps, bar)
                else:
                    scores = self._in_turn(candidates, seeds, steps, bar)
            except Interrupted:
                bar.finish("stopped")
                raise
            bar.finish(f"{len(candidates)} functions, {len(seeds)} seeds each")
        return scores

    # ---- one after the other -------------------------------------------------------------------

    def _in_turn(
        self, candidates: Sequence[PilotRequest], seeds: Sequence[int], steps: int, bar: Bar
    ) -> list[PilotScore]:
        scores = []
        for at, request in enumerate(candidates):
            done = at * len(seeds) * steps

            def show(env_steps: int, at: int = at, done: int = done) -> None:
                bar.update(done + env_steps, detail=labelled(candidates[at].key))
                self._moved(at, env_steps)

            show(0)
            score = self._score(request, seeds, steps, show)
            scores.append(score)
            self._keep(request, score)
        return scores

    def _score(
        self,
        request: PilotRequest,
        seeds: Sequence[int],
        steps: int,
        show: Callable[[int], None],
    ) -> PilotScore:
        trained: list[PilotEnded] = []
        for at, seed in enumerate(seeds):

            def hear(event: Event, before: int = at * steps) -> None:
                if isinstance(event, Progress):
                    show(before + event.env_steps)
                elif isinstance(event, Noticed):
                    self._session.notice(event.about, event.text)

            order, control = self._order(request, seed, steps), self._session.control.training
            ended = train_pilot(order, self._session.sandboxes.opened, hear, control)
            if ended is None:
                raise Interrupted
            trained.append(ended)
            if ended.error:
                break
        return _score_of(request.key, trained)

    def _settings(self, request: PilotRequest, steps: int) -> TrainConfig:
        """QLLM's own, shortened; the baseline learns with them, too."""
        config = _training(self._config).shortened(
            steps,
            updates_per_rollout=self._plan.updates_per_rollout,
            evaluations=EVALUATIONS,
        )
        if request.graph is None:
            return config.model_copy(update={"algorithm": VdnConfig()})
        return config

    # ---- several at once -----------------------------------------------------------------------

    def _together(
        self, candidates: Sequence[PilotRequest], seeds: Sequence[int], steps: int, bar: Bar
    ) -> list[PilotScore]:
        self._take(candidates, seeds, steps)
        places = [
            self._begun[_named(request, seed, steps)] for request in candidates for seed in seeds
        ]
        answers: dict[int, PilotEnded] = {}
        walked = dict.fromkeys(places, 0)
        scores: list[PilotScore] = []

        def own(at: int) -> list[int]:
            return places[at * len(seeds) : (at + 1) * len(seeds)]

        def moved(place: int, env_steps: int) -> None:
            walked[place] = env_steps
            bar.update(sum(walked.values()), detail=self._where)
            at = min(len(scores), len(candidates) - 1)
            self._moved(at, sum(walked[p] for p in own(at)))

        def done(place: int, answer: PilotEnded) -> None:
            answers[place] = answer
            while len(scores) < len(candidates) and answers.keys() >= set(own(len(scores))):
                request = candidates[len(scores)]
                told = [answers[p] for p in own(len(scores))]
                scores.append(_score_of(request.key, told))
                self._keep(request, scores[-1])

        session = self._session
        listener = Listener(session.control.training, moved, session.notice, done)
        if not self._crew_at_work().collect(places, listener):
            self.close()
            raise Interrupted
        return scores

    def _take(self, requests: Sequence[PilotRequest], seeds: Sequence[int], steps: int) -> None:
        for request in requests:
            for seed in seeds:
                named = _named(request, seed, steps)
                if named not in self._begun:
                    order = self._order(request, seed, steps)
                    self._begun[named] = self._crew_at_work().add(order)

    def _crew_at_work(self) -> Crew:
        if self._crew is None:
            config, display = self._config, self._session.display
            if self._elsewhere is not None:
                how = self._elsewhere.surroundings(self._logs, config, display)
                executor = open_executor(self._elsewhere.name, how)
                self._crew = ExecutorCrew(
                    executor, config.sandbox_for(self._card), config.threads, display
                )
            else:
                warn_of_crowding(display, config.parallel, config.threads)
                self._crew = PilotCrew(config.parallel, config.threads, self._logs)
        return self._crew

    def _order(self, request: PilotRequest, seed: int, steps: int) -> PilotOrder:
        return PilotOrder(
            self._card.model_dump(mode="json"),
            self._settings(request, steps).model_dump(mode="json"),
            None if request.graph is None else request.graph.to_json(),
            seed,
        )


def _named(request: PilotRequest, seed: int, steps: int) -> tuple[str, int, int]:
    return BASELINE_KEY if request.graph is None else request.graph.graph_hash, seed, steps


def _score_of(key: str, trained: Sequence[PilotEnded]) -> PilotScore:
    """The seeds behind one that failed do not count."""
    failed = next((at for at, t in enumerate(trained) if t.error), None)
    if failed is not None:
        spent = sum(t.env_steps for t in trained[:failed])
        return PilotScore(key, env_steps=spent, error=trained[failed].error)
    rows = [summarise_seed(t.evaluations) for t in trained]
    curve = learning_curve([[(at, fmean(r)) for at, r in t.evaluations] for t in trained])
    return PilotScore(
        key,
        finals=tuple(row.return_mean for row in rows),
        areas=tuple(row.return_auc for row in rows),
        curve=tuple((round(point.env_steps), point.mean) for point in curve),
        env_steps=sum(t.env_steps for t in trained),
        updates=min(t.updates for t in trained),
        episodes=min(row.count for row in rows),
    )
