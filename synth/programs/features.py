"""Terms that a program computes from the state: per agent, or one for the whole team.

Every term lies between 0 and 1 on the states that the card allows, so that terms can be added and
multiplied without one of them drowning the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompts.cards import TaskCard
from synth.programs.draft import Draft, Term, decimal, literal
from synth.programs.measures import Measures
from synth.programs.odds import Odds
from synth.programs.positions import PositionTerms
from synth.programs.views import Part, View, read_views

_FEW_AGENTS = 4
"""Up to here every agent's role is written out; larger teams are divided in two."""

_Odds = Sequence[tuple[float, Callable[[], Term]]]


class Features:
    """Draws terms for one task into one draft."""

    def __init__(self, card: TaskCard, draft: Draft, odds: Odds) -> None:
        self.card, self.draft, self.rng, self.odds = card, draft, draft.rng, odds
        self.views = read_views(card)
        self.measures = Measures(card, draft)
        self.places = PositionTerms(draft, self.views, card.n_agents)
        everyone = set(range(card.n_agents))
        self.alike = any(set(group) == everyone for group in card.exchangeable)
        """Whether all agents could swap places."""

    def agent_term(self) -> Term:
        """A term of shape [B, n_agents]."""
        odds: list[tuple[float, Callable[[], Term]]] = []
        if self.views.agents:
            odds += [
                (2.0, self._agent_mark),
                (2.0, lambda: self.measures.level(self._agent_view())),
                (2.0, lambda: self.measures.gate(self._agent_view())),
            ]
            if self.card.n_agents > 1:  # what compares agents needs several
                odds += [(1.0, self._lead), (0.7, self._top)]
                if self.odds.ratios:
                    odds.append((1.0, self._share))
                if self._discrete():
                    odds.append((1.5, self._company))
        if self.odds.pairs and self.places.targets:
            odds += [(2.5, self.places.close), (1.5, self.places.nearest)]
        if self.odds.pairs and self.places.company:
            odds.append((1.0, self.places.crowded))
        if not self.views.agents or not self.alike:
            odds.append((0.8, self._roles))
        return self._draw(odds)

    def team_term(self) -> Term:
        """A term of shape [B, 1]."""
        odds: list[tuple[float, Callable[[], Term]]] = []
        if self.views.agents:
            odds += [(3.0, self._summary), (0.6 if self.alike else 2.0, self._joint)]
        if self.views.others:
            odds.append((3.0, self._other))
        if not odds:
            odds.append((1.0, self._nothing))
        term = self._draw(odds)
        if self.draft.chance(0.15):
            code, note = f"1.0 - {term.name}", f"the opposite of {term.name}"
            return self.draft.term("team", f"not_{term.name}", code, note, mark=term.mark)
        return term

    def _draw(self, odds: _Odds) -> Term:
        weights, makers = zip(*odds, strict=True)
        return self.rng.choices(makers, weights)[0]()

    def _discrete(self) -> list[Part]:
        return [p for p in self.views.agents if p.slice.kind != "real"]

    def _view_of(self, parts: Sequence[Part]) -> View:
        part = self.rng.choice(parts)
        return part.view(self.rng.randrange(part.number))

    def _agent_view(self) -> View:
        return self._view_of(self.views.agents)

    # --- per agent -------------------------------------------------------------------------

    def _agent_mark(self) -> Term:
        discrete = self._discrete()
        if not discrete:
            return self.measures.gate(self._agent_view())
        return self.measures.mark(self._view_of(discrete))

    def _share(self) -> Term:
        level = self.measures.level(self._agent_view()).name
        inline = f"{level} / ({level}.sum(dim=1, keepdim=True) + 0.001)"
        code = self.draft.call("share", inline, level)
        note = f"each agent's part of the team's total {level}"
        return self.draft.term("agents", f"{level}_share", code, note)

    def _lead(self) -> Term:
        level = self.measures.level(self._agent_view()).name
        k = decimal(self.rng.choice([2, 3, 5]))
        code = f"torch.sigmoid({k} * ({level} - {level}.mean(dim=1, keepdim=True)))"
        note = f"above 0.5 where an agent's {level} exceeds the team's mean"
        return self.draft.term("agents", f"{level}_lead", code, note)

    def _top(self) -> Term:
        view = self._agent_view()
        if view.categorical:
            return self.measures.mark(view)
        name = self.draft.view(view)
        code = f"({name} >= {name}.amax(dim=1, keepdim=True)).float()"
        note = f"1 for the agent, or agents, with the largest {name}"
        return self.draft.term("agents", f"{name}_top", code, note, mark=True)

    def _company(self) -> Term:
        name = self.draft.view(self._view_of(self._discrete()))
        pairs = self.draft.let(
            f"pairs_{name}",
            f"({name}.unsqueeze(2) == {name}.unsqueeze(1)).float()",
            f"1 where two agents (dim 1, dim 2) have the same {name}",
        )
        others = self.card.n_agents - 1
        code = f"{pairs}.sum(dim=2) - 1.0"
        if others > 1:
            code = f"({code}) / {decimal(others)}"
        note = f"share of the other agents with the same {name}"
        return self.draft.term("agents", f"same_{name}", code, note)

    def _roles(self) -> Term:
        """Agents answer to situations: each column of the term is a team term of its own."""
        n, draft = self.card.n_agents, self.draft
        one = draft.short("case", self.team_term().name)
        if draft.chance(0.5):
            two = draft.let(f"not_{one}", f"1.0 - {one}", f"the opposite of {one}")
        else:
            two = draft.short("other_case", self.team_term().name)
        if n <= _FEW_AGENTS:
            lone = self.rng.randrange(n)
            columns = [one if i == lone else two for i in range(n)]
        else:
            cut = self.rng.randrange(1, n)
            columns = [f"{one}.expand(-1, {cut})", f"{two}.expand(-1, {n - cut})"]
        code = f"torch.cat([{', '.join(columns)}], dim=1)"
        return self.draft.term("agents", "role", code, "the situation that each agent answers to")

    # --- for the team ----------------------------------------------------------------------

    def _summary(self) -> Term:
        term = self._agent_mark() if self.draft.chance(0.6) else self._agent_level()
        return self.measures.summary(term)

    def _agent_level(self) -> Term:
        return self.measures.level(self._agent_view())

    def _joint(self) -> Term:
        """A feature of two particular agents together."""
        discrete = self._discrete()
        if not discrete or self.card.n_agents < 2:
            return self._summary()
        view = self._view_of(discrete)
        name, low_high = self.draft.view(view), view.ordinary
        if low_high[0] > low_high[1]:
            return self._summary()
        parts, words, places = [], [], sorted(self.rng.sample(range(view.count), 2))
        for agent in places:
            value = self.measures.value(view, special=False)
            parts.append(f"({name}[:, {agent}:{agent + 1}] == {literal(value)}).float()")
            words.append(self.measures.value_in_words(view, value))
        hint = f"joint_{words[0]}_{words[1]}".replace("-", "minus_")
        note = (
            f"1 where {name} of agent {places[0]} is {words[0]} and of agent {places[1]} "
            f"is {words[1]}"
        )
        return self.draft.term("team", hint, " * ".join(parts), note, mark=True)

    def _other(self) -> Term:
        part = self.rng.choice(self.views.others)
        if part.axis == "team" or self.draft.chance(0.3):
            view = part.column(self.rng.randrange(part.size))
        else:
            view = part.view(self.rng.randrange(part.number))
        if view.discrete and (view.constant or self.draft.chance(0.6)):
            return self.measures.summary(self.measures.mark(view))
        term = self.measures.gate(view) if self.draft.chance(0.5) else self.measures.level(view)
        return self.measures.summary(term)

    def _nothing(self) -> Term:
        code = "torch.full_like(state[:, 0:1], 0.5)"
        return self.draft.term("team", "always", code, "the state of this task says nothing")
