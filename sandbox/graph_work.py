"""Work on graphs besides judging them, each piece in a caged child."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from prompts.cards import TaskCard
from sandbox import answers
from sandbox.config import SandboxConfig
from sandbox.graph import CreditGraph
from sandbox.isolation import wire
from sandbox.isolation.host import Child, ChildFailure, Zygote
from sandbox.isolation.lockdown import Limits


class GraphWork(ABC):
    """What a sandbox does with graphs it has read: write them out, run them, look at credit."""

    config: SandboxConfig

    @property
    @abstractmethod
    def zygote(self) -> Zygote:
        """The warmed process that children are forked from."""

    def judging_child(self) -> AbstractContextManager[Child]:
        """A caged child with the limits of a judge."""
        return self.zygote.child(Limits(self.config.judge_memory_mb, self.config.judge_cpu_s))

    def mathematics(self, gated: CreditGraph, card: TaskCard) -> str | None:
        """A function written out in the card's names; None where it has no readable form."""
        task = {
            "kind": "mathematics",
            "graph": gated.to_json(),
            "card": card.model_dump(mode="json"),
        }
        try:
            with self.judging_child() as child:
                child.ask(task)
                text = child.answer()["text"]
        except (ChildFailure, TypeError, KeyError):
            return None
        return text if isinstance(text, str) else None

    def rehearse(
        self,
        gated: CreditGraph,
        agent_qs: Sequence[Sequence[float]],
        states: Sequence[Sequence[float]],
        rows: int,
    ) -> str | None:
        """Run a function forwards and backwards on a batch as a training would.

        Args:
            gated: the gated graph.
            agent_qs: ``[N, n_agents]``.
            states: ``[N, state_dim]``.
            rows: of the batch, in which the N are repeated.

        Returns:
            What went wrong, in words; None where nothing did.
        """
        task = {
            "kind": "rehearse",
            "graph": gated.to_json(),
            "agent_qs": agent_qs,
            "states": states,
            "rows": rows,
        }
        try:
            with self.judging_child() as child:
                child.ask(task)
                answer = child.answer()
                wrong = [k for k in ("q_tot", "gradient") if answer[k] is not True]
        except ChildFailure as error:
            return error.message
        except (TypeError, KeyError):
            return "the sandboxed process answered in an unknown form"
        return f"{' and '.join(wrong)} not finite" if wrong else None

    def credit(
        self,
        gated: CreditGraph,
        card: TaskCard,
        agent_qs: Sequence[Sequence[float]],
        states: Sequence[Sequence[float]],
        seed: int,
    ) -> tuple[list[list[float]], list[float]]:
        """A function's weights along an episode, and how far each state column moves them.

        Args:
            gated: the gated graph.
            card: the task.
            agent_qs: ``[T, n_agents]``, the agents' values of their actions.
            states: ``[T, state_dim]``.
            seed: of the other values that columns are given.

        Returns:
            d q_tot / d Q_i ``[T, n_agents]``, and the influence of each column ``[state_dim]``.

        Raises:
            ChildFailure: the function crashed, or took too long or too much memory.
        """
        task = {
            "kind": "credit",
            "graph": gated.to_json(),
            "card": card.model_dump(mode="json"),
            "agent_qs": agent_qs,
            "states": states,
            "seed": seed,
        }
        with self.judging_child() as child:
            child.ask(task)
            answer = child.answer()
            if not isinstance(answer, dict):
                raise wire.WireError("malformed", "an answer of unknown form")
            weights = answers.read_rows(answer.get("weights"), len(states), card.n_agents)
            (influence,) = answers.read_rows([answer.get("influence")], 1, card.state_dim)
        return weights, influence
