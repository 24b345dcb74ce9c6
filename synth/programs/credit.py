"""From terms to credit: weights around 1 for each agent, and a bias."""

from __future__ import annotations

from collections.abc import Callable

from synth.programs.draft import Draft, Term, decimal
from synth.programs.features import Features

_STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)


def write_score(draft: Draft, features: Features) -> str:
    """A signed sum of one to three agent terms, some of them switched by a situation: [B, n]."""
    parts = []
    for found in _distinct(features.agent_term, draft.rng.choice([1, 2, 2, 3])):
        strength = round(draft.rng.choice(_STRENGTHS) * features.odds.strength, 2)
        sign = "-" if draft.chance(0.35) else "+"
        term = found.name
        if draft.chance(0.3):
            situation = features.team_term().name
            note = f"{term}, as far as {situation} holds"
            term = draft.let("situated", f"{situation} * {term}", note)
        parts.append((sign, f"{decimal(strength)} * {term}"))
    first = f"-{parts[0][1]}" if parts[0][0] == "-" else parts[0][1]
    code = " ".join([first, *(f"{sign} {part}" for sign, part in parts[1:])])
    lean = draft.let("lean", code, "how far the credit leans towards each agent")
    if features.card.n_agents > 1 and draft.chance(0.4):
        code = f"{lean} - {lean}.mean(dim=1, keepdim=True)"
        return draft.let("relative", code, "only differences between the agents count")
    return lean


def write_weights(draft: Draft, features: Features, *, signed: bool = False) -> str:
    """Writes the weights and gives their expression: [B, n], positive unless ``signed``."""
    if signed:
        reach = decimal(draft.rng.choice([1.0, 1.5, 2.0]))
        lean = write_score(draft, features)
        return draft.let(
            "credit", f"1.0 + {reach} * {lean}", "credit around 1, which may turn against an agent"
        )
    if draft.chance(0.2):
        situation = draft.short("situation", features.team_term().name)
        one, two = _plain_weights(draft, features), _plain_weights(draft, features)
        if draft.chance(0.5):
            code = f"torch.where({situation} > 0.5, {one}, {two})"
            return draft.let("credit", code, f"two ways to give credit, chosen by {situation}")
        code = f"{situation} * {one} + (1.0 - {situation}) * {two}"
        return draft.let("credit", code, f"two ways to give credit, blended by {situation}")
    return _plain_weights(draft, features)


def _plain_weights(draft: Draft, features: Features) -> str:
    makers: list[Callable[[Draft, Features], str]] = [
        _by_softmax,
        _by_tanh,
        _by_sigmoid,
        _by_exponential,
        _by_sum,
    ]
    if features.odds.ratios:
        makers.append(_by_share)
    return draft.rng.choice(makers)(draft, features)


def _by_softmax(draft: Draft, features: Features) -> str:
    lean = write_score(draft, features)
    n = decimal(features.card.n_agents)
    temperature = draft.rng.choice([0.5, 1.0, 2.0])
    inner = lean if temperature == 1 else f"{lean} / {temperature}"
    code = f"{n} * torch.softmax({inner}, dim=1)"
    return draft.let("credit", code, "agents compete for a credit of 1 each on average")


def _by_tanh(draft: Draft, features: Features) -> str:
    lean = write_score(draft, features)
    reach = draft.rng.choice([0.3, 0.5, 0.7, 0.9])
    return draft.let("credit", f"1.0 + {reach} * torch.tanh({lean})", "credit around 1")


def _by_sigmoid(draft: Draft, features: Features) -> str:
    lean = write_score(draft, features)
    return draft.let("credit", f"0.5 + torch.sigmoid({lean})", "credit from 0.5 to 1.5")


def _by_exponential(draft: Draft, features: Features) -> str:
    lean = write_score(draft, features)
    raw = draft.let("pull", f"torch.exp({lean}.clamp(-1.5, 1.5))", "always positive, and bounded")
    code = f"{raw} / {raw}.mean(dim=1, keepdim=True)"
    return draft.let("credit", code, "credit of 1 on average")


def _by_sum(draft: Draft, features: Features) -> str:
    terms = _distinct(features.agent_term, draft.rng.choice([1, 2, 2]))
    gains = [round(draft.rng.choice([0.3, 0.5, 0.8]) * features.odds.strength, 2) for _ in terms]
    floor = max(0.2, round(1 - sum(gains) / 2, 2))
    parts = [decimal(floor)] + [
        f"{decimal(g)} * {t.name}" for g, t in zip(gains, terms, strict=True)
    ]
    return draft.let("credit", " + ".join(parts), "a part for everyone, and more where it is due")


def _by_share(draft: Draft, features: Features) -> str:
    term = features.agent_term().name
    floor = draft.rng.choice([0.2, 0.5, 1.0])
    raw = draft.let("claim", f"{floor} + {term}", "the constant keeps every claim positive")
    code = f"{raw} / {raw}.mean(dim=1, keepdim=True)"
    return draft.let("credit", code, "credit of 1 on average, in proportion to the claims")


def _distinct(make: Callable[[], Term], count: int) -> list[Term]:
    return list(dict.fromkeys(make() for _ in range(count)))


def write_bias(draft: Draft, features: Features, *, beside: str) -> str:
    """Writes the bias [B, 1], nothing or a small part of the rewards, and gives its name.

    ``beside`` is something of shape [B, n_agents], which has as many rows.
    """
    if draft.chance(0.4):
        return draft.let("bias", f"torch.zeros_like({beside}[:, 0:1])")
    size = max(*map(abs, features.card.scaled_reward()), 1e-3)
    strength = float(f"{draft.rng.choice([0.02, 0.05, 0.1, 0.2]) * size:.2g}")
    situation = features.team_term().name
    return draft.let(
        "bias",
        f"{strength} * ({situation} - 0.5)",
        "the situation is worth a little by itself, whatever the agents do",
    )
