"""The credit function of a run at work: an episode for its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from marl.demonstration import Actors, random_actors
from marl.envs.kinds import plays
from marl.settings.env import EnvConfig
from marl.settings.stored import stored_env
from prompts.bounded import read_json
from prompts.cards import CardError, TaskCard, load_card
from qllm.errors import UsageError
from qllm.jobs.credit import CERTIFICATE
from qllm.jobs.explain import agents_of, explain_episode
from qllm.report.episode import CreditEpisode
from qllm.store.errors import StoreError
from qllm.store.schema import Run
from qllm.store.store import Store
from sandbox.certificate import MAX_FILE_BYTES
from sandbox.checker import Sandbox, SandboxUnavailable
from sandbox.graph import CreditGraph, GraphError
from sandbox.reading import read_graph


def certified(store: Store, run: Run) -> tuple[CreditGraph, dict[str, Any]]:
    """The function in a run's certificate, to be shown and so not proved again, and its claims.

    Raises:
        OSError, ValueError, KeyError, TypeError, GraphError: there is none, or it is damaged.
    """
    document = read_json(store.run_dir(run.id) / CERTIFICATE, MAX_FILE_BYTES)
    return read_graph(document["graph"]), document.get("claims") or {}


def credit_episode(store: Store, family: Sequence[Run]) -> CreditEpisode | None:
    """An episode under the function that these runs selected or were given.

    Their trained agents act, or chance where there are none yet. None where there is no function,
    or nothing can play the task any more: a report can do without.
    """
    run = next((r for r in family if r.inputs and r.inputs.get("graph_hash")), None)
    if run is None:
        return None
    try:
        card = load_card(str(run.config.get("task") or run.task))
        graph, claims = certified(store, run)
        fits = (graph.n_agents, graph.state_dim) == (card.n_agents, card.state_dim)
        policy = _policy(store, family, run, card) if plays(card) and fits else None
        if policy is None:
            return None
        with Sandbox(export=False) as sandbox:
            return explain_episode(
                graph,
                card,
                policy,
                sandbox,
                function=str(run.inputs.get("name")),
                linear_in_q=bool(claims.get("linear_in_q")),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever the certificate's file or the card's has become
    except (CardError, GraphError, UsageError, StoreError, SandboxUnavailable):
        return None


def _policy(store: Store, family: Sequence[Run], run: Run, card: TaskCard) -> Actors | None:
    try:
        return agents_of(store, family[0].id, card)
    except UsageError:
        env = _env(run.config, card.env.kind)
        return random_actors(card, env) if env.playable else None


def _env(config: dict[str, Any], kind: str) -> EnvConfig:
    try:
        return stored_env(config, kind)
    except ValidationError:
        return EnvConfig().of(kind)
