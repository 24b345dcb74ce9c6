"""Terms of agents' positions: close to something, nearest to it, or crowded."""

from __future__ import annotations

from synth.programs.draft import Draft, Term, decimal, literal
from synth.programs.views import Space, View, Views

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
        targets = (*(views.other_places if self._own else ()), *views.seen_places)
        self._targets = [p for p in targets if n_agents * p.x.count <= _PAIRS]

    @property
    def targets(self) -> bool:
        """Whether agents can be compared with other things."""
        return bool(self._targets)

    @property
    def company(self) -> bool:
        """Whether agents can be compared with each other."""
        return bool(self._own) and self._n > 1

    def close(self) -> Term:
        """Near 1 for an agent that is close to one of the things: [B, n_agents]."""
        return self._close(self._rng.choice(self._targets))

    def _close(self, target: Space) -> Term:
        distance, present = self._distances(target)
        k, thing = decimal(self._rng.choice([3, 5, 8, 12])), target.name
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
        if target.others:
            return self._close(target)  # each agent has others of its own
        distance, present = self._distances(target)
        k, thing = decimal(self._rng.choice([5, 10, 20])), target.name
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
        code = f"({code}).clamp(0.0, 1.0)"  # proofs do not see that an agent is close to itself
        return self._draft.term(
            "agents", "crowded", code, "near 1 where an agent stands among the other agents"
        )

    def _distances(self, target: Space) -> tuple[str, str]:
        """Name of the distances [B, n_agents, things], and a factor that hides absent things."""
        draft, thing = self._draft, target.name
        x, y, size = draft.view(target.x), draft.view(target.y), target.size
        if target.seen:
            away, mark = (f"{x}.abs()", f"{y}.abs()"), x
        else:
            own = self._rng.choice(self._own)
            away = (self._away(own.x, target.x), self._away(own.y, target.y))
            size, mark = max(own.size, size), f"{x}.unsqueeze(1)"
        distance = draft.let(
            f"distance_to_{thing}",
            f"({away[0]} + {away[1]}) / {decimal(size)}",
            f"from each agent (dim 1) to each {thing} (dim 2), in parts of the field",
        )
        if not target.x.stray:
            return distance, ""
        present = draft.let(
            f"{thing}_present",
            f"({mark} != {literal(target.x.stray[0])}).float()",
            f"0 means: {target.x.slice.sentinel_meaning}",
        )
        return distance, f" * {present}"

    def _away(self, own: View, other: View) -> str:
        """How far things lie from agents in one direction: [B, n_agents, things]."""
        x, y = self._draft.view(own), self._draft.view(other)
        return self._draft.let(f"{y}_away", f"({x}.unsqueeze(2) - {y}.unsqueeze(1)).abs()")
