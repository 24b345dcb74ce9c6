"""Mixing forms: q_tot as a function of the agents' values and the state."""

from __future__ import annotations

from collections.abc import Callable

from synth.programs.credit import write_weights
from synth.programs.draft import Draft, decimal
from synth.programs.features import Features

_Form = Callable[[Draft, Features], str]


def write_linear(draft: Draft, features: Features, *, signed: bool) -> str:
    """The weighted sum of the agents' values: [B, 1]."""
    credit = write_weights(draft, features, signed=signed)
    note = "the agents' values, each with its credit"
    return draft.let("total", f"({credit} * agent_qs).sum(dim=1, keepdim=True)", note)


def write_nonlinear(draft: Draft, features: Features) -> str:
    """A form that is nonlinear in the agents' values and increasing in each of them."""
    forms: list[_Form] = [_gains_and_losses, _saturating, _cautious, _soft_minimum, _two_units]
    return draft.rng.choice(forms)(draft, features)


def write_interplay(draft: Draft, features: Features) -> str:
    """A form in which the agents' values act on each other.

    These are ideas that a person might well try, and that a relaxed gate admits. Some of them
    decrease in an agent's value for some strengths: the sandbox decides.
    """
    forms: list[_Form] = [_disagreement, _variance, _contrast, _trust, _attention, _joint_success]
    return draft.rng.choice(forms)(draft, features)


def _scale(features: Features, draft: Draft) -> str:
    """A size of values at which a form begins to bend: a few steps' reward, in the unit of Q."""
    size = max(*map(abs, features.card.scaled_reward()), 0.1)
    return decimal(float(f"{draft.rng.choice([1, 2, 5]) * size:.2g}"))


def _gains_and_losses(draft: Draft, features: Features) -> str:
    gains = write_weights(draft, features)
    losses = write_weights(draft, features)
    return draft.let(
        "total",
        f"({gains} * F.relu(agent_qs) - {losses} * F.relu(-agent_qs)).sum(dim=1, keepdim=True)",
        "positive and negative values are credited in different ways",
    )


def _saturating(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    scale = _scale(features, draft)
    part = draft.rng.choice([0.25, 0.5, 0.75])
    return draft.let(
        "bent",
        f"{round(1 - part, 2)} * {total} + {part} * {scale} * torch.tanh({total} / {scale})",
        "very large totals count for less",
    )


def _cautious(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    caution = draft.short("caution", features.team_term().name)
    n = decimal(features.card.n_agents)
    weakest = draft.let("weakest", "agent_qs.amin(dim=1, keepdim=True)", "the least hopeful agent")
    return draft.let(
        "blended",
        f"(1.0 - {caution}) * {total} + {caution} * {n} * {weakest}",
        f"the team is as good as its weakest agent, the more so the more {caution}",
    )


def _soft_minimum(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    scale = _scale(features, draft)
    part = draft.rng.choice([0.3, 0.5, 0.7])
    soft = draft.let(
        "soft_minimum",
        f"-{scale} * torch.logsumexp(-agent_qs / {scale}, dim=1, keepdim=True)",
        "close to the smallest of the agents' values",
    )
    return draft.let("blended", f"{round(1 - part, 2)} * {total} + {part} * {soft}")


def _two_units(draft: Draft, features: Features) -> str:
    """Two hidden units with state-dependent positive weights, as a mixing network has many."""
    one = write_linear(draft, features, signed=False)
    two = write_linear(draft, features, signed=False)
    scale = _scale(features, draft)
    situation = draft.short("situation", features.team_term().name)
    rising = draft.rng.choice(["F.elu", "F.softplus", "F.leaky_relu"])
    first = draft.let("unit_1", f"{scale} * F.elu({one} / {scale})", "bends below zero")
    second = draft.let("unit_2", f"{scale} * {rising}({two} / {scale})")
    return draft.let(
        "mixed",
        f"(0.2 + 0.6 * {situation}) * {first} + (0.8 - 0.6 * {situation}) * {second}",
        f"{situation} decides which unit counts",
    )


def _disagreement(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    spread = draft.let(
        "disagreement",
        f"(agent_qs - {_middle(draft)}).abs().mean(dim=1, keepdim=True)",
        "how far the agents' values lie apart",
    )
    cost = decimal(draft.rng.choice([0.5, 1.0, 2.0]) * features.card.n_agents)
    return draft.let("agreed", f"{total} - {cost} * {spread}", "agents should be equally hopeful")


def _variance(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    scale, cost = _scale(features, draft), draft.rng.choice([0.3, 3.0])
    spread = draft.let(
        "variance",
        f"((agent_qs - {_middle(draft)}) / {scale}).square().mean(dim=1, keepdim=True)",
        "how unlike the agents' values are",
    )
    return draft.let("agreed", f"{total} - {cost} * {scale} * torch.log1p({spread})")


def _contrast(draft: Draft, features: Features) -> str:
    credit = write_weights(draft, features)
    middle, n = _middle(draft), decimal(features.card.n_agents)
    apart = draft.let(
        "apart",
        f"({credit} * (agent_qs - {middle})).sum(dim=1, keepdim=True)",
        "the agents' differences from the mean, each with its credit",
    )
    strength = draft.rng.choice([0.5, 3.0, 6.0])
    return draft.let("total", f"{n} * {middle} + {strength} * {apart}")


def _trust(draft: Draft, features: Features) -> str:
    credit = write_weights(draft, features)
    trust = draft.let(
        "trust",
        f"torch.sigmoid(agent_qs / {_scale(features, draft)})",
        "hopeful agents are trusted more",
    )
    floor = draft.rng.choice([0.0, 0.0, 0.5])
    factor = trust if floor == 0 else f"({floor} + {trust})"
    return draft.let("total", f"({credit} * {factor} * agent_qs).sum(dim=1, keepdim=True)")


def _attention(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    n = decimal(features.card.n_agents)
    focus = draft.let(
        "focus",
        f"torch.softmax(agent_qs / {_scale(features, draft)}, dim=1)",
        "attention to the agents with the largest values",
    )
    part = draft.rng.choice([0.5, 0.9])
    best = f"{n} * ({focus} * agent_qs).sum(dim=1, keepdim=True)"
    return draft.let("attended", f"{round(1 - part, 2)} * {total} + {part} * {best}")


def _joint_success(draft: Draft, features: Features) -> str:
    total = write_linear(draft, features, signed=False)
    together = draft.let(
        "together",
        f"torch.sigmoid(agent_qs / {_scale(features, draft)}).prod(dim=1, keepdim=True)",
        "near 1 only where every agent expects to do well",
    )
    gain = draft.rng.choice([0.2, 0.5, 1.0])
    return draft.let("joined", f"{total} * (1.0 + {gain} * {together})", "success is joint")


def _middle(draft: Draft) -> str:
    return draft.let("middle", "agent_qs.mean(dim=1, keepdim=True)", "the agents' mean value")
