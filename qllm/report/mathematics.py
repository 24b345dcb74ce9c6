"""A credit graph in readable mathematics, where it has a readable form."""

from __future__ import annotations

from prompts.cards import CardError, TaskCard, load_card
from sandbox.graph import CreditGraph, GraphError


def mathematics(graph: object, task: str | TaskCard) -> str | None:
    """The lines of ``sandbox.mathematics``, or None: no such task any more, or too long to read.

    Args:
        graph: a credit graph, or its JSON as the store or a certificate has it.
        task: the task's card, or its name.
    """
    from sandbox.mathematics import TooLargeError, write_mathematics

    try:
        card = load_card(task) if isinstance(task, str) else task
        made = graph if isinstance(graph, CreditGraph) else CreditGraph.from_json(graph)
        if (made.n_agents, made.state_dim) != (card.n_agents, card.state_dim):
            return None
        return write_mathematics(made, card).text
    except (CardError, GraphError, TooLargeError):
        return None
