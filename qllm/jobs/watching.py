"""An episode of a run's trained agents, for drawing."""

from __future__ import annotations

from marl.demonstration import Actors, Demonstration, mixing_weights
from marl.errors import SettingsError
from marl.scenes.episode import Played
from marl.trained import Which
from prompts.cards import TaskCard
from qllm.jobs.credit import shown_certificate
from qllm.jobs.explain import agents_of, card_of, demonstration, weights_along
from qllm.store.store import Store
from sandbox.checker import Sandbox
from sandbox.graph import GraphError
from sandbox.reading import read_graph


def watch(store: Store, run_id: int, seed: int, which: Which = "newest") -> Played:
    """Let a run's trained agents play an episode.

    Args:
        run_id: a training, or a run with trainings, of which those of qllm come first.

    Raises:
        UsageError: there is no such checkpoint, or it cannot be played.
        qllm.store.runs.UnknownRunError: there is no such run.
        SandboxUnavailable: its function cannot be run.
    """
    card = card_of(store.runs.get(run_id))
    actors = agents_of(store, run_id, card, which)
    played = demonstration(card, actors, seed)
    return Played(
        card,
        f"{card.name}: {actors.name}",
        played.episode.state[0].tolist(),
        played.actions.tolist(),
        played.rewards.tolist(),
        _weights(store, run_id, card, actors, played, seed),
    )


def _weights(
    store: Store, run_id: int, card: TaskCard, actors: Actors, played: Demonstration, seed: int
) -> list[list[float]] | None:
    """``[T, n]`` of the credit function, if its file exists, or of the mixing network, if any."""
    assert actors.trained is not None
    if actors.trained.credit is None:
        try:
            weights = mixing_weights(played, actors, card)
        except SettingsError:  # a plug-in's algorithm that is gone; the episode is there
            return None
        return None if weights is None else weights.tolist()
    for run in store.runs.family(run_id):
        if run.inputs and run.inputs.get("graph_hash") == actors.trained.credit:
            try:
                graph = read_graph(shown_certificate(store, run).get("graph"))
            except GraphError:
                continue
            with Sandbox(export=False) as sandbox:
                return weights_along(graph, card, played, sandbox, "its function", seed)[1]
    return None
