"""How actions are chosen from an actor's scores while data is collected."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from marl.agents import Player


class Policy(Protocol):
    """Chooses the actions of one rollout."""

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The actions of moment t.

        Args:
            t: 0, 1, ...
            obs: ``[B, n, o]``.
            state: ``[B, s]``.
            avail: bool ``[B, n, a]``.
            last_actions: int64 ``[B, n]``, -1 at the first moment.

        Returns:
            Actions int64 ``[B, n]``, and what is to be kept of the step by name, ``[B, ...]``:
            the algorithm's `extras`.
        """


def greedy_actions(scores: Tensor, avail: Tensor) -> Tensor:
    """The best available actions, int64 ``[B, n]``, for scores and avail ``[B, n, a]``."""
    return scores.masked_fill(~avail, -float("inf")).argmax(-1)


class Uniform:
    """Actions drawn uniformly among the available ones.

    Args:
        rng: what they are drawn with.
    """

    def __init__(self, rng: torch.Generator) -> None:
        self._rng = rng

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return greedy_actions(torch.rand(avail.shape, generator=self._rng), avail), {}


class Greedy:
    """Always the available action with the highest score."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return greedy_actions(self._player(obs, last_actions), avail), {}


class EpsilonGreedy:
    """With probability epsilon a random available action, else the one with the highest score.

    Args:
        player: scores the actions.
        epsilon: in [0, 1].
        uniform: uniform numbers ``[B, T, n, 2]``: whether to explore, and with which action.
        n_actions: a.
    """

    def __init__(self, player: Player, epsilon: float, uniform: Tensor, n_actions: int) -> None:
        self._player = player
        self._uniform = uniform[..., 1].unbind(1)
        self._explores = (uniform[..., 0] < epsilon).unbind(1)
        # What is random where everything is available, which no single moment need work out.
        self._free = (uniform[..., 1] * n_actions).long().unbind(1)
        self._all_available: Tensor | None = None

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.choose(t, self._player(obs, last_actions), avail), {}

    def choose(self, t: int, scores: Tensor, avail: Tensor) -> Tensor:
        """int64 ``[B, n]`` for scores and avail ``[B, n, a]`` of moment t."""
        if avail is not self._all_available and t == 0 and bool(avail.all()):
            self._all_available = avail
        if avail is self._all_available:
            return torch.where(self._explores[t], self._free[t], scores.argmax(-1))
        rank = avail.cumsum(-1)  # 1, 2, ... over the available actions
        wanted = (self._uniform[t] * rank[..., -1]).long() + 1
        # The first action whose rank is wanted: an unavailable action repeats an earlier rank.
        random = (rank == wanted[..., None]).to(torch.uint8).argmax(-1)
        return torch.where(self._explores[t], random, greedy_actions(scores, avail))


class Sampled:
    """Actions drawn from the softmax of the available actions' logits.

    Args:
        player: gives the logits.
        uniform: uniform numbers in [0, 1), ``[B, T, n, 1]``.
    """

    def __init__(self, player: Player, uniform: Tensor) -> None:
        self._player = player
        self._uniform = uniform.unbind(1)

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        log_probs = log_softmax(self._player(obs, last_actions), avail)
        # By inversion. The sum may round to less than 1, so draws are relative to it: the first
        # action beyond the draw then exists and has a probability above 0.
        upto = log_probs.exp().cumsum(-1)
        actions = (upto > self._uniform[t] * upto[..., -1:]).to(torch.uint8).argmax(-1)
        return actions, {"log_prob": log_probs.gather(-1, actions[..., None]).squeeze(-1)}


def log_softmax(logits: Tensor, avail: Tensor) -> Tensor:
    """log pi ``[..., a]`` over the available actions; very negative, but finite, elsewhere.

    Finite, so that 0 * log 0 and gradients through unavailable actions are 0 and not NaN.
    """
    least = torch.finfo(logits.dtype).min
    masked = logits.masked_fill(~avail, -float("inf"))
    return masked.log_softmax(-1).masked_fill(~avail, least)
