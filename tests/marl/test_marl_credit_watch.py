"""A training stops with a counterexample where its credit function breaks its word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from marl.credit_watch import OFTEN, SELDOM, Broken, CreditWatch, Moments
from marl.errors import TrainingError
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import load_card


class Function(nn.Module):
    """A credit function from a plain function."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.compute, self.calls = compute, 0

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        """q_tot ``[B, 1]``."""
        self.calls += 1
        return self.compute(agent_qs, state)


def moments(count: int = 40, agents: int = 3, actions: int = 4) -> Moments:
    generator = torch.Generator().manual_seed(0)
    avail = torch.ones(count, agents, actions, dtype=torch.bool)
    avail[:, 0, 1:] = False  # the first agent has one action only
    return Moments(
        torch.randn(count, agents, actions, generator=generator),
        avail,
        torch.rand(count, 2, generator=generator),
    )


def look(compute: Callable[[Tensor, Tensor], Tensor], monotone: bool = True) -> Broken | None:
    return CreditWatch(Function(compute), monotone=monotone).look(moments())


@pytest.mark.parametrize(
    "compute",
    [
        lambda q, s: q.sum(1, keepdim=True),
        lambda q, s: q.amin(1, keepdim=True) * s[:, :1],
        lambda q, s: s[:, :1],
        lambda q, s: 1e6 + 1e-6 * q.sum(1, keepdim=True) * torch.tanh(q).sum(1, keepdim=True),
    ],
)
def test_a_function_that_keeps_its_word_is_left_alone(
    compute: Callable[[Tensor, Tensor], Tensor],
) -> None:
    assert look(compute) is None


def test_a_falling_function_is_found_with_the_agent_and_the_moment() -> None:
    def falls(q: Tensor, s: Tensor) -> Tensor:
        return q[:, :1] + q[:, 1:2] * torch.where(s[:, :1] > 0.9, -1.0, 1.0) + q[:, 2:]

    broken = look(falls)
    assert broken is not None
    assert "raising agent 1's Q" in broken.text
    assert float(broken.state[0]) > 0.9
    assert broken.agent_qs.shape == (3,)
    assert look(falls, monotone=False) is None


def test_a_fall_that_shows_with_all_values_high_is_found() -> None:
    # q1 counts for less and less as q2 rises, and against q_tot once q2 is well above zero.
    broken = look(lambda q, s: q[:, 1:2] * (1.0 - q[:, 2:].clamp(min=0.0) * 5) + 9 * q[:, 2:])
    assert broken is not None
    assert "raising agent 1's Q" in broken.text


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda q, s: q.sum(1, keepdim=True) / (s[:, :1] > 0.9).float().sub(1), "q_tot"),
        (lambda q, s: (q.sum(1, keepdim=True) * 0).sqrt(), "gradient"),
    ],
)
def test_what_is_not_finite_is_found(
    compute: Callable[[Tensor, Tensor], Tensor], said: str
) -> None:
    broken = look(compute, monotone=False)
    assert broken is not None
    assert said in broken.text


def test_it_looks_often_at_first_and_then_now_and_then() -> None:
    due = [u for u in range(3_000) if CreditWatch.is_due(u)]
    assert due[:3] == [0, OFTEN, 2 * OFTEN]
    assert len([u for u in due if u < 1_000]) == 100
    assert [u for u in due if u >= 1_000] == list(range(1_000, 3_000, SELDOM))


CARD = load_card("matrix/climbing")
CONFIG = TrainConfig.model_validate({"steps": 3_000, "algorithm": {"name": "qllm"}})


def test_a_training_stops_and_keeps_the_numbers(tmp_path: Path) -> None:
    # It turns against agent 0 at a joint action that training comes to.
    function = Function(
        lambda q, s: q[:, 1:] + q[:, :1] * torch.where((s == 1).all(1, keepdim=True), -1.0, 1.0)
    )
    watch = CreditWatch(function, monotone=True)
    trainer = Trainer(CARD, CONFIG, 0, credit=function, credit_watch=watch, run_dir=tmp_path)
    with pytest.raises(TrainingError, match=r"raising agent 0's Q .* lowers q_tot") as stopped:
        trainer.run()
    (kept,) = tmp_path.glob("credit-*.safetensors")
    assert str(kept) in str(stopped.value)
    numbers = load_file(kept)
    assert numbers["state"].tolist() == [1.0, 1.0]
    assert numbers["agent_qs"].shape == (2,)


def test_the_first_batch_is_rehearsed_elsewhere_before_the_function_sees_it() -> None:
    function = Function(lambda q, s: q.sum(1, keepdim=True))
    told: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []

    def rehearse(agent_qs: Tensor, state: Tensor) -> str | None:
        told.append((tuple(agent_qs.shape), tuple(state.shape), function.calls))
        return "it crashes (SIGFPE)"

    watch = CreditWatch(function, monotone=True, rehearse=rehearse)
    trainer = Trainer(CARD, CONFIG, 0, credit=function, credit_watch=watch)
    with pytest.raises(TrainingError, match="it crashes"):
        trainer.run()
    ((qs, state, calls),) = told
    assert qs == state  # as many agents as state columns, in this task
    assert calls == 0
    assert qs[0] >= CONFIG.learner.batch_size


def test_watching_changes_nothing_that_is_learned() -> None:
    config = CONFIG.model_copy(update={"steps": 1_500})

    def trained(watched: bool) -> list[float]:
        function = Function(lambda q, s: q.sum(1, keepdim=True))
        watch = CreditWatch(function, monotone=True) if watched else None
        trainer = Trainer(CARD, config, 3, credit=function, credit_watch=watch)
        trainer.run()
        return [p.double().sum().item() for p in trainer.learner.parameters]

    assert trained(True) == trained(False)
