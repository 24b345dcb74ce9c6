"""Weights of a credit function along an episode, and the state columns they depend on."""

from __future__ import annotations

import torch
from torch import Tensor

from marl.demonstration import Actors, Demonstration, demonstrate, trained_actors
from marl.errors import CheckpointError, SettingsError, TrainingError
from marl.trained import Trained, Which, load_trained
from prompts.cards import CardError, StateSlice, TaskCard, load_card
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.errors import UsageError
from qllm.jobs.credit import trains_with_credit
from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.store.numbers import run_name
from qllm.store.schema import Run
from qllm.store.store import Store
from sandbox.checker import Sandbox
from sandbox.graph import CreditGraph
from sandbox.isolation.host import ChildFailure

_SLICES, _COLUMNS = 3, 4
"""Slices of the state that are shown, and columns of each."""


def card_of(run: Run) -> TaskCard:
    """The card of a run's task.

    Raises:
        UsageError: it is gone or breaks a rule.
    """
    try:
        return load_card(str(run.config.get("task") or run.task))
    except CardError as error:
        raise UsageError(str(error)) from None


def trained_in(store: Store, run: Run, card: TaskCard, which: Which = "newest") -> Trained:
    """The networks of a single training.

    Args:
        card: of the task that it learned.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged or another training's.
        ConfigError: the training's settings cannot be read.
    """
    credit = run.inputs.get("graph_hash") if trains_with_credit(run) else None
    config = from_stored(run.config)
    folder = store.run_dir(run.id)
    initial = None if run.given.initial is None else run.given.initial.hash
    own, seed = config.train_config(), config.seeds[0]
    return load_trained(folder, card, own, seed, credit, which, initial)


def agents_of(store: Store, run_id: int, card: TaskCard, which: Which = "newest") -> Actors:
    """The greedy agents of a training.

    Args:
        run_id: a training, or a run with trainings, of which the first that has a checkpoint and
            trained with a credit function (else the first at all) is taken.

    Raises:
        UsageError: it has no checkpoint, or is of another task.
        qllm.store.runs.UnknownRunError: there is no such run.
    """
    trainings = store.runs.trainings(run_id)
    problem = f"run {run_name(run_id)} has no training"
    for run in sorted(trainings, key=lambda run: not trains_with_credit(run)):
        if run.task != card.name:
            problem = f"run {run.name} is of task '{run.task}', not of '{card.name}'"
            continue
        name = f"greedy {run.algo} agents of run {run.name}"
        try:
            return trained_actors(trained_in(store, run, card, which), card, name)
        except (CheckpointError, ConfigError) as error:
            problem = str(error)
    raise UsageError(f"run {run_name(run_id)}: {problem}")


def demonstration(card: TaskCard, actors: Actors, seed: int) -> Demonstration:
    """`marl.demonstration.demonstrate` with its errors as usage errors.

    Raises:
        UsageError: the environment cannot be made with these settings or fails, or the agents do
            not fit it.
    """
    try:
        return demonstrate(card, actors, seed)
    except (SettingsError, TrainingError) as error:
        raise UsageError(str(error)) from None


def weights_along(
    graph: CreditGraph,
    card: TaskCard,
    played: Demonstration,
    sandbox: Sandbox,
    function: str,
    seed: int,
) -> tuple[Tensor, list[list[float]], list[float]]:
    """The agents' values and weights ``[T, n]`` along an episode, and each column's influence.

    Raises:
        UsageError: the function, ``function`` in words, does not run along the episode.
    """
    qs = played.values(card.gamma, card.reward.scale or 1.0)
    try:
        weights, influence = sandbox.credit(graph, card, qs.tolist(), played.states.tolist(), seed)
    except ChildFailure as error:
        raise UsageError(f"{function} does not run along the episode: {error.message}") from None
    return qs, weights, influence


def explain_episode(
    graph: CreditGraph,
    card: TaskCard,
    actors: Actors,
    sandbox: Sandbox,
    *,
    function: str,
    linear_in_q: bool,
    seed: int = 0,
) -> CreditEpisode:
    """Play an episode and take the function's weights along it.

    Args:
        graph: gated and accepted.
        function: where the graph came from, in words.
        linear_in_q: whether the weights are the same for all agents' values.

    Raises:
        UsageError: the environment cannot be played with the actors' settings, or the function
            does not run along the episode.
    """
    played = demonstration(card, actors, seed)
    qs, weights, influence = weights_along(graph, card, played, sandbox, function, seed)
    return CreditEpisode(
        task=card.name,
        function=function,
        policy=actors.name,
        action_names=card.action_names,
        weights=_rows(torch.tensor(weights)),
        actions=tuple(tuple(int(a) for a in row) for row in played.actions.T.tolist()),
        rewards=tuple(played.rewards.tolist()),
        agent_qs=_rows(qs),
        linear_in_q=linear_in_q,
        slices=_slices(card, played.states, torch.tensor(influence)),
        seed=seed,
    )


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.T.tolist())


_LONG_NAME = 13


def _titles(s: StateSlice) -> dict[str, str]:
    """A slice's title and subtitle: its owner, and its field."""
    if s.agent is not None:
        return {"title": f"agent {s.agent}", "subtitle": f"state: {s.field}"}
    whose, underscore, what = s.name.partition("_")
    if underscore and len(s.name) > _LONG_NAME:
        return {"title": whose, "subtitle": f"state: {what}"}
    return {"title": s.name, "subtitle": "state"}


def _column(s: StateSlice, place: tuple[int, ...]) -> str:
    """A column's name within its slice: ``agent 1``, ``[0]``, ``agent 2 [1]``."""
    if s.size == 1:
        return "value"
    rest = [i for axis, i in enumerate(place) if axis != s.agent_axis]
    words = [] if s.agent_axis is None else [f"agent {place[s.agent_axis]}"]
    return " ".join(words + ([f"[{','.join(map(str, rest))}]"] if rest else []))


def _slices(card: TaskCard, states: Tensor, moved: Tensor) -> tuple[SliceTrace, ...]:
    traces = []
    for s, at in card.offsets():
        own = moved[at : at + s.size]
        # What a column does only through rounding is no influence.
        matter = [i for i in own.argsort(descending=True).tolist() if own[i] > 1e-7 * moved.max()]
        if not matter or float(own.max()) == 0:
            continue
        shown = sorted(matter[:_COLUMNS])
        traces.append(
            SliceTrace(
                name=s.name,
                **_titles(s),
                columns=tuple(_column(*card.column(at + i)) for i in shown),
                values=tuple(tuple(states[:, at + i].tolist()) for i in shown),
                influence=float(own.sum()),
                left_out=len(matter) - len(shown),
            )
        )
    traces.sort(key=lambda trace: -trace.influence)
    return tuple(traces[:_SLICES])
