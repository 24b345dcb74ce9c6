"""An episode under a credit function, for a report or for the terminal app.

The function is shown and not trained with, so it is not proved again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from marl.demonstration import Actors, random_actors
from marl.envs.kinds import plays
from marl.settings.env import EnvConfig
from marl.settings.stored import stored_env
from prompts.cards import CardError, TaskCard, load_card
from qllm.errors import UsageError
from qllm.jobs.credit import shown_certificate
from qllm.jobs.explain import agents_of, explain_episode
from qllm.report.episode import CreditEpisode
from qllm.store.errors import StoreError
from qllm.store.schema import Run
from qllm.store.store import Store
from sandbox.checker import Sandbox, SandboxUnavailable
from sandbox.graph import CreditGraph, GraphError
from sandbox.reading import read_graph


class CannotPlayError(Exception):
    """There is nothing to show; the message is the reason."""


@dataclass(frozen=True)
class ShownFunction:
    """A credit function and its task."""

    graph: CreditGraph
    card: TaskCard
    name: str
    linear_in_q: bool

    def episode(
        self, store: Store, run: Run, trained: Iterable[int], sandbox: Sandbox
    ) -> CreditEpisode:
        """An episode with the weights that the function gives along it.

        Args:
            run: its environment is played.
            trained: runs whose trained agents act; random actions without any.

        Raises:
            CannotPlayError: there is nothing to show.
        """
        if not plays(self.card):
            raise CannotPlayError(f"task {self.card.name} has no environment to play")
        try:
            return explain_episode(
                self.graph,
                self.card,
                self._actors(store, run, trained),
                sandbox,
                function=self.name,
                linear_in_q=self.linear_in_q,
            )
        except UsageError as error:
            raise CannotPlayError(str(error)) from None

    def _actors(self, store: Store, run: Run, trained: Iterable[int]) -> Actors:
        for run_id in trained:
            try:
                return agents_of(store, run_id, self.card)
            except UsageError:
                continue  # a search, or a training without a checkpoint yet
        try:
            env = stored_env(run.config, self.card.env.kind)
        except ValidationError:
            env = EnvConfig().of(self.card.env.kind)
        if not env.playable:
            raise CannotPlayError(f"task {self.card.name} has no environment to play")
        return random_actors(self.card, env)


def shown_function(graph: Any, task: str, name: str, *, linear_in_q: bool) -> ShownFunction:
    """A function of a store or a certificate.

    Args:
        graph: as JSON.

    Raises:
        CannotPlayError: it, or its task's card, is gone or has changed.
    """
    try:
        found, card = read_graph(graph), load_card(task)
    except (CardError, GraphError) as error:
        raise CannotPlayError(str(error)) from None
    if (found.n_agents, found.state_dim) != (card.n_agents, card.state_dim):
        raise CannotPlayError("the task's card has changed since this function was written")
    return ShownFunction(found, card, name, linear_in_q)


def credit_episode(store: Store, family: Sequence[Run]) -> CreditEpisode | None:
    """An episode under the function that these runs selected or were given.

    Their trained agents act, or random actions are taken. None without a function, or without a
    playable task.
    """
    run = next((r for r in family if r.given.graph_hash), None)
    if run is None:
        return None
    try:
        document = shown_certificate(store, run)
        linear = bool((document.get("claims") or {}).get("linear_in_q"))
        task, name = run.settings.task or run.task, str(run.given.name)
        function = shown_function(document["graph"], task, name, linear_in_q=linear)
        with Sandbox(export=False) as sandbox:
            return function.episode(store, run, [family[0].id], sandbox)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a damaged certificate
    except (CannotPlayError, StoreError, SandboxUnavailable):
        return None
