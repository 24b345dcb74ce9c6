"""Metrics: which values of the infos count, how they become one, and what a card may ask for."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch

from marl.envs.registry import make_env
from marl.envs.workers.metrics import EpisodeMetrics
from marl.errors import SettingsError
from prompts.cards import TaskCard, load_card

CLIMBING = load_card("matrix/climbing")
STEPS: list[dict[Any, Any]] = [
    {"a": {"goals": 2, "won": False}, "b": {"goals": np.array([1.0])}},
    {"a": {"other": 1}, "b": None},
    {"a": {"goals": 5}, "b": {"goals": 3, "won": np.bool_(True)}},
]


def with_metrics(card: TaskCard, *metrics: dict[str, Any]) -> TaskCard:
    return TaskCard.model_validate({**card.model_dump(), "metrics": metrics})


def told(steps: list[dict[Any, Any]], **rule: Any) -> float:
    """What an episode comes to."""
    row = np.zeros(1)
    base = {"name": "m", "info": "goals", "take": "last", "agents": "mean", "absent": -1.0}
    metrics = EpisodeMetrics([base | rule], row)  # type: ignore[list-item]
    for _ in range(2):  # the second time as after another episode
        metrics.begin()
        for infos in steps:
            metrics.record(infos)
    return float(row[0])


@pytest.mark.parametrize(("take", "value"), [("last", 4), ("sum", 5.5), ("max", 4), ("mean", 2.75)])
def test_an_episodes_value_is_taken_from_the_steps_that_tell_it(take: str, value: float) -> None:
    assert told(STEPS, take=take) == value


@pytest.mark.parametrize(("agents", "value"), [("mean", 4), ("sum", 8), ("max", 5), ("min", 3)])
def test_agents_that_tell_it_become_one(agents: str, value: float) -> None:
    assert told(STEPS, agents=agents) == value


def test_agents_that_do_not_tell_it_do_not_count() -> None:
    assert told(STEPS, info="won") == 1
    assert told(STEPS, info="won", take="mean") == 0.5


def test_a_value_beside_the_agents_is_the_teams() -> None:
    assert told([{"a": {"goals": 1}, "goals": 7}], agents="sum") == 7


def test_an_episode_that_never_tells_it_has_the_value_of_absence() -> None:
    assert told([], take="sum") == told(STEPS, info="lost") == -1


@pytest.mark.parametrize("value", [float("nan"), None, "many", [1, 2]])
def test_what_is_no_number_is_an_error_that_names_the_metric(value: Any) -> None:
    with pytest.raises(ValueError, match="metric m: 'goals' of a "):
        told([{"a": {"goals": value}}])


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"name": "won", "meaning": "m"}, "take"),
        ({"name": "won", "meaning": "m", "take": "first"}, "'last', 'sum', 'max' or 'mean'"),
        ({"name": "Won!", "meaning": "m", "take": "last"}, "pattern"),
        ({"name": "won", "meaning": "m", "take": "last", "absent": float("nan")}, "finite"),
        ({"name": "won", "meaning": "m", "take": "last", "agent": "sum"}, "agent"),
    ],
)
def test_a_metric_that_breaks_a_rule_is_refused(metric: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        with_metrics(CLIMBING, metric)


def test_metrics_have_names_of_their_own_and_no_part_in_the_schema() -> None:
    won = {"name": "won", "meaning": "m", "take": "last"}
    with pytest.raises(ValueError, match="two metrics have the same name"):
        with_metrics(CLIMBING, won, won)
    card = with_metrics(CLIMBING, won)
    assert card.metrics[0].info == "won"
    assert card.schema_hash() == CLIMBING.schema_hash()


def test_an_environment_that_tells_nothing_takes_no_metrics() -> None:
    card = with_metrics(CLIMBING, {"name": "won", "meaning": "m", "take": "last"})
    with pytest.raises(SettingsError, match=r"kind matrix tell nothing but the reward: leave metr"):
        make_env(card, 1, 0)


def test_a_metric_that_no_info_tells_is_remarked_with_the_names_there_are() -> None:
    pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
    from marl_pettingzoo_batches import card, make
    from marl_pettingzoo_habits import HABITS

    text = {**card(4).model_dump(), "n_agents": 2, "n_actions": 3, "action_names": ["a", "b", "c"]}
    rules = [
        {"name": "fuel", "meaning": "m", "take": "mean"},
        {"name": "victory", "info": "one", "meaning": "m", "take": "last", "absent": 2},
    ]
    task = with_metrics(TaskCard.model_validate(text), *rules)
    with closing(make(f"{HABITS}:Reporting", 3, 2, task=task)) as env:
        assert env.remarks() == {}
        env.reset()
        for _ in range(4):
            env.step(torch.zeros(3, 2, dtype=torch.int64))
        assert env.metrics()["fuel"].tolist() == [7.5] * 3
        assert env.metrics()["victory"].tolist() == [2] * 3
        (said,) = env.remarks().values()
    assert "no info has told 'one' so far, so that metric victory is 2; there was crowd, f" in said
