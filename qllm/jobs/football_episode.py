"""An episode of a run's trained agents, to be looked at."""

from __future__ import annotations

from marl.demonstration import Actors, Demonstration
from prompts.cards import TaskCard
from qllm.errors import UsageError
from qllm.jobs.explain import agents_of, card_of, demonstration, weights_along
from qllm.report.credit_episode import certified
from qllm.report.pitch import FootballEpisode, football_episode
from qllm.store.numbers import run_name
from qllm.store.store import Store
from sandbox.checker import Sandbox
from sandbox.graph import GraphError


def watch(store: Store, run_id: int, seed: int) -> FootballEpisode:
    """Let a run's trained agents play an episode of football.

    Args:
        run_id: a training, or a run with trainings, of which those of qllm come first.
        seed: of the episode.

    Raises:
        UsageError: it is of another task than football, has no checkpoint, or cannot be played.
        qllm.store.runs.UnknownRunError: there is no such run.
        SandboxUnavailable: its function cannot be run.
    """
    run = store.runs.get(run_id)
    card = card_of(run)
    if card.env.kind != "football":
        raise UsageError(
            f"run {run_name(run_id)} is of task '{card.name}', and only football is drawn: "
            f"`qllm explain CANDIDATE --run {run_name(run_id)}` shows what its agents do"
        )
    actors = agents_of(store, run_id, card)
    played = demonstration(card, actors, seed)
    return football_episode(
        card,
        played.states.tolist(),
        played.actions.tolist(),
        played.rewards.tolist(),
        _weights(store, run_id, card, actors, played, seed),
        f"{card.name}: {actors.name}",
    )


def _weights(
    store: Store, run_id: int, card: TaskCard, actors: Actors, played: Demonstration, seed: int
) -> list[list[float]] | None:
    """``[T, n]`` of the credit function that the agents were trained with, if its file is there."""
    if actors.trained is None or actors.trained.credit is None:
        return None
    for run in store.runs.family(run_id):
        if run.inputs and run.inputs.get("graph_hash") == actors.trained.credit:
            try:
                graph, _ = certified(store, run)
            except (OSError, ValueError, KeyError, TypeError, GraphError):
                continue
            with Sandbox(export=False) as sandbox:
                return weights_along(graph, card, played, sandbox, "its function", seed)[1]
    return None
