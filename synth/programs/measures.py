"""Terms of a single view: marks of its values, its level, thresholds and bumps of its level."""

from __future__ import annotations

from prompts.cards import TaskCard
from synth.programs.draft import Draft, Term, decimal, literal
from synth.programs.views import View

_WIDE = 50.0
"""Real columns with a wider range are squashed, not stretched: most of it is rarely visited."""


class Measures:
    """Writes terms of one view into one draft."""

    def __init__(self, card: TaskCard, draft: Draft) -> None:
        self._card, self._draft, self._rng = card, draft, draft.rng

    def mark(self, view: View) -> Term:
        """1 where a discrete view has one of its values, 0 elsewhere."""
        s, name, draft = view.slice, self._draft.view(view), self._draft
        if s.kind in ("onehot", "boolean") and (s.low, s.high) == (0, 1) and not s.sentinels:
            if draft.chance(0.7):
                return Term(name, view.axis, mark=True)
            note = f"1 where {name} is 0"
            return draft.term(view.axis, f"no_{name}", f"1.0 - {name}", note, mark=True)
        value = self.value(view)
        word = self.value_in_words(view, value)
        hint = f"{name}_unset" if value in view.stray else f"{name}_is_{word}"
        note = f"1 where {name} is {word}"
        if value in s.sentinels:
            note += f": {s.sentinel_meaning}"
        return draft.term(
            view.axis,
            hint.replace("-", "minus_").replace(".", "_"),
            f"({name} == {literal(value)}).float()",
            note,
            mark=True,
        )

    def value(self, view: View, *, special: bool = True) -> float:
        """One of a discrete view's values; ``special`` admits sentinels."""
        low, high = view.ordinary
        if low > high or (special and view.stray and (view.constant or self._draft.chance(0.25))):
            return self._rng.choice(view.slice.sentinels or (view.slice.low,))
        return float(self._rng.randint(low, high))

    def value_in_words(self, view: View, value: float) -> str:
        """An action's name where the view holds actions, else the number."""
        actions = self._card.action_names
        if view.categorical and view.ordinary == (0, len(actions) - 1) and value >= 0:
            return actions[int(value)]
        return literal(value)

    def level(self, view: View) -> Term:
        """A view brought to 0..1; a mark where its values have no order or no extent."""
        if view.categorical or view.constant:
            return self.mark(view)
        s, name, draft = view.slice, self._draft.view(view), self._draft
        if (s.low, s.high) == (0, 1) and not view.stray:
            return Term(name, view.axis, mark=s.kind != "real")
        extent = s.high - s.low
        if s.kind == "real" and extent > _WIDE and s.low <= 0 <= s.high and not view.stray:
            scale = decimal(float(f"{extent / 20:.2g}"))
            code = f"0.5 + 0.5 * torch.tanh({name} / {scale})"
            return draft.term(view.axis, f"{name}_scaled", code, f"{name} squashed to 0..1")
        code = name
        if s.low:
            code = f"{name} {'-' if s.low > 0 else '+'} {decimal(abs(s.low))}"
        if extent != 1:
            code = f"({code}) / {decimal(extent)}" if s.low else f"{code} / {decimal(extent)}"
        note = f"{name} brought to 0..1"
        if view.stray:
            note += ", special values at the edge"
        code = f"({code}).clamp(0.0, 1.0)"  # rounding alone may lead out, and proofs count it
        return draft.term(view.axis, f"{name}_scaled", code, note)

    def gate(self, view: View) -> Term:
        """A smooth threshold or bump of a view's level; a mark stays as it is."""
        level, draft = self.level(view), self._draft
        if level.mark:
            return level
        at = self._rng.choice([0.25, 0.4, 0.5, 0.6, 0.75])
        if draft.chance(0.65):
            k = self._rng.choice([4.0, 8.0, 12.0])
            inline = f"torch.sigmoid({k} * ({level.name} - {at}))"
            code = draft.call("soft_step", inline, level.name, str(at), str(k))
            note = f"rises where {level.name} passes {at}"
            return draft.term(view.axis, f"{level.name}_high", code, note)
        width = self._rng.choice([0.15, 0.25, 0.4])
        inline = f"torch.exp(-((({level.name} - {at}) / {width}) ** 2))"
        code = draft.call("near", inline, level.name, str(at), str(width))
        note = f"1 where {level.name} is about {at}, less on both sides"
        return draft.term(view.axis, f"{level.name}_middle", code, note)

    def summary(self, term: Term) -> Term:
        """A term over agents or entities, brought to one number for the team."""
        if term.axis == "team":
            return term
        how, of_marks, of_levels = self._rng.choice(
            [("mean", "share", "mean"), ("amax", "any", "highest"), ("amin", "all", "lowest")]
        )
        word = of_marks if term.mark else of_levels
        return self._draft.term(
            "team",
            f"{word}_{term.name}",
            f"{term.name}.{how}(dim=1, keepdim=True)",
            f"{word} of {term.name}",
            mark=term.mark and how != "mean",
        )
