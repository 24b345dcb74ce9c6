"""Terms of agents' positions: close to something, nearest to it, or crowded."""

from __future__ import annotations

from synth.programs.draft import Draft, Term, decimal, literal
from synth.programs.views import Space, Views

_PAIRS = 4_096
"""Most agent-entity pairs that a program compares at once."""


class PositionTerms:
    """Writes terms of positions into one draft.

    Args:
        draft: The program.
        views: What the state holds.
        n_agents: Number of agents.
    """

    def __init__(self, draft: Draft, views: Views, n_agents: int) -> None:
        self._draft, self._rng, self._n = draft, draft.rng, n_agents
        self._own = [p for p in views.agent_places if n_agents * n_agents <= _PAIRS]
        self._targets = [p for p in views.other_places if n_agents * p.x.count <= _PAIRS]

    @property
    def targets(self) -> bool:
        """Whether agents can be compared with other things."""
        return bool(self._own and self._targets)

    @property
    def company(self) -> bool:
        """Whether agents can be compared with each other."""
        return bool(self._own) and self._n > 1

    def close(self) -> Term:
        """Near 1 for an agent that is close to one of the things: [B, n_agents]."""
        target = self._rng.choice(self._targets)
        distance, present = self._distances(target)
        k, thing = decimal(self._rng.choice([3, 5, 8, 12])), target.x.slice.name
        nearness = f"torch.exp(-{k} * {distance})"
        if present:
            nearness = f"({nearness}{present})"
        return self._draft.term(
            "agents",
            f"close_to_{thing}",
            f"{nearness}.amax(dim=2)",
            f"near 1 where an agent is close to some {thing}",
        )

    def nearest(self) -> Term:
        """Share of the things that an agent is the nearest agent to: ``[B, n_agents]``."""
        target = self._rng.choice(self._targets)
        distance, present = self._distances(target)
        k, thing = decimal(self._rng.choice([5, 10, 20])), target.x.slice.name
        shares = f"torch.softmax(-{k} * {distance}, dim=1)"
        if present:
            shares = f"({shares}{present})"
        return self._draft.term(
            "agents",
            f"nearest_to_{thing}",
            f"{shares}.mean(dim=2)",
            f"how much of the {thing} an agent is the nearest agent to",
        )

    def crowded(self) -> Term:
        """Near 1 for an agent with the others around it: [B, n_agents]."""
        distance, _ = self._distances(self._rng.choice(self._own))
        k = decimal(self._rng.choice([3, 6, 10]))
        around = f"torch.exp(-{k} * {distance}).sum(dim=2) - 1.0"
        code = around if self._n == 2 else f"({around}) / {decimal(self._n - 1)}"
        return self._draft.term(
            "agents", "crowded", code, "near 1 where an agent stands among the other agents"
        )

    def _distances(self, target: Space) -> tuple[str, str]:
        """Name of the distances [B, n_agents, things], and a factor that hides absent things."""
        own, draft = self._rng.choice(self._own), self._draft
        x, y = draft.view(own.x), draft.view(own.y)
        other_x, other_y = draft.view(target.x), draft.view(target.y)
        thing = target.x.slice.name
        dx = draft.let(f"dx_{thing}", f"({x}.unsqueeze(2) - {other_x}.unsqueeze(1)).abs()")
        dy = draft.let(f"dy_{thing}", f"({y}.unsqueeze(2) - {other_y}.unsqueeze(1)).abs()")
        distance = draft.let(
            f"distance_to_{thing}",
            f"({dx} + {dy}) / {decimal(max(own.size, target.size))}",
            f"from each agent (dim 1) to each {thing} (dim 2), in parts of the field",
        )
        if not target.x.stray:
            return distance, ""
        present = draft.let(
            f"{thing}_present",
            f"({other_x} != {literal(target.x.stray[0])}).float().unsqueeze(1)",
            f"0 means: {target.x.slice.sentinel_meaning}",
        )
        return distance, f" * {present}"
