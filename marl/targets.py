"""Returns that are regressed on, target networks, and the scale of states."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from marl.batch import Batch
from marl.settings.learner import LearnerConfig


def td_targets(
    batch: Batch, values: Tensor, gamma: float, td_lambda: float, reward: Tensor | None = None
) -> Tensor:
    """TD(lambda) targets of the steps that happened.

    Args:
        batch: S steps.
        values: ``[S, k]``, of the moment after each step, which a terminal step does not use.
        gamma: discount per step.
        td_lambda: 0 for one-step targets.
        reward: ``[S]``, in the place of the batch's, which may be each agent's own.

    Returns:
        ``[S, k]``.
    """
    if td_lambda == 0:
        paid = batch.rewards if reward is None else reward[:, None]
        return paid + gamma * values * ~batch.terminated[:, None]
    episodes, spread = batch.episodes, batch.spread(values)  # [E, T, k]
    rewards = episodes.rewards if reward is None else batch.spread(reward[:, None])
    pairs = zip(rewards.expand_as(spread).unbind(-1), spread.unbind(-1), strict=True)
    parts = [
        lambda_returns(paid, episodes.terminated, episodes.filled, value, gamma, td_lambda)
        for paid, value in pairs  # [E, T] each
    ]
    return batch.steps(torch.stack(parts, -1))


def move_target(
    online: Iterable[Tensor], target: Iterable[Tensor], config: LearnerConfig, updates: int
) -> None:
    """Move target networks towards the online ones after update number ``updates``."""
    soft = config.target_update == "soft"
    if not soft and updates % config.target_interval:
        return
    share = config.target_tau if soft else 1.0
    with torch.no_grad():
        for there, here in zip(target, online, strict=True):
            there.lerp_(here, share)


def lambda_returns(
    reward: Tensor,
    terminated: Tensor,
    filled: Tensor,
    next_values: Tensor,
    gamma: float,
    td_lambda: float,
) -> Tensor:
    """TD(lambda) targets, computed backwards along each episode.

        G_t = r_t + gamma * (1 - terminated_t) * ((1 - lambda) * V_{t+1} + lambda * G_{t+1})

    where the last filled step has no G after it and so rests on V alone: lambda = 0 is the one-step
    target, lambda = 1 the discounted return (plus the value of the end of a truncated episode).
    Uncorrected for the difference between behaviour and greedy policy, as in PyMARL.

    Args:
        reward: ``[E, T]``.
        terminated: bool ``[E, T]``.
        filled: bool ``[E, T]``.
        next_values: ``[E, T]``, V_{t+1}: the target network's value of the moment after step t. It
            is never read where step t terminated.
        gamma: discount.
        td_lambda: lambda in [0, 1].

    Returns:
        ``[E, T]``; meaningless where not filled.
    """
    after = next_values.masked_fill(terminated, 0)
    if td_lambda == 0:
        return reward + gamma * after
    result = torch.empty_like(reward)
    following = after[:, -1]
    for t in range(reward.shape[1] - 1, -1, -1):
        blend = (1 - td_lambda) * after[:, t] + td_lambda * following
        result[:, t] = reward[:, t] + gamma * blend.masked_fill(terminated[:, t], 0)
        # The step before looks at this one only if this one happened; otherwise at the value.
        if t > 0:
            following = torch.where(filled[:, t], result[:, t], after[:, t - 1])
    return result


class RunningScale:
    """Running mean and variance of what was seen in all steps that happened, column by column.

    Each environment step counts once, when it is collected, and padding never does; the variance
    has an epsilon under the root, so that constants give 0 and not NaN. Combines batches by the
    parallel formula of Chan, Golub and LeVeque (1983).

    Args:
        columns: sizes of one value: none for a reward, the number of columns for a state.
        device: where the moments are kept.
    """

    def __init__(self, *columns: int, device: torch.device | str = "cpu") -> None:
        # count, mean, sum of squared deviations; float64, since they run over the whole training
        self._moments = torch.zeros(3, *columns, dtype=torch.float64, device=device)

    def update(self, values: Tensor, filled: Tensor) -> None:
        """Count newly collected steps: ``[E, T, *columns]`` where ``filled`` ``[E, T]``."""
        new = values[filled].double()
        count, mean, squares = self._moments.unbind()
        more = torch.tensor(float(len(new)), dtype=torch.float64, device=new.device)
        total = (count + more).clamp(min=1)
        new_mean = new.sum(0) / more.clamp(min=1)
        delta = new_mean - mean
        self._moments = torch.stack(
            [
                count + more,
                mean + delta * more / total,
                squares + (new - new_mean).square().sum(0) + delta**2 * count * more / total,
            ]
        )

    def __call__(self, values: Tensor, epsilon: float = 1e-6) -> Tensor:
        """Values shifted and scaled to mean 0 and variance 1 over what has been counted."""
        count, mean, squares = self._moments.unbind()
        variance = squares / count.clamp(min=1)
        return (values - mean.to(values.dtype)) / (variance + epsilon).sqrt().to(values.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """``moments`` float64 ``[3, *columns]``."""
        return {"moments": self._moments.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: it has other columns.
        """
        if state["moments"].shape != self._moments.shape:
            raise ValueError(f"a scale of shape {list(state['moments'].shape)} does not fit")
        self._moments = state["moments"].to(self._moments.device, copy=True)
