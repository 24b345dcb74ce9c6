"""Evaluations: environments made once, episodes that no wave and no earlier evaluation changes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import assert_same_state, climbing, small_config

import marl.evaluation as module
from marl.agents import Agent, make_agent
from marl.envs.registry import make_env
from marl.evaluation import Evaluation, Evaluator, in_blocks
from marl.settings.agent import AgentConfig
from marl.settings.env import env_class
from marl.settings.evaluation import EvaluationConfig
from marl.trainer import Trainer
from prompts.cards import EnvSpec, TaskCard, load_card

CPU = torch.device("cpu")


def agent(obs_dim: int, n_agents: int, n_actions: int) -> Agent:
    torch.manual_seed(1)
    return make_agent(AgentConfig(hidden=16), obs_dim, n_agents, n_actions)


def evaluator(card: TaskCard, episodes: int, epsilon: float = 0.0, **env: Any) -> Evaluator:
    config = EvaluationConfig(episodes=episodes, epsilon=epsilon)
    return Evaluator(
        card, config, env_class(card.env.kind).model_validate(env), 5, CPU, torch.float32
    )


@pytest.mark.parametrize("task", ["matrix/climbing", "lbf/8x8-2p-2f-coop-2s", "mpe/tag"])
def test_an_environment_seeded_anew_is_as_one_newly_made(task: str) -> None:
    card = load_card(task)
    used, fresh = make_env(card, 3, 1), make_env(card, 8, 2)
    generator = torch.Generator().manual_seed(0)
    used.reset()
    used.step(torch.zeros(3, card.n_agents, dtype=torch.int64))
    used.reseed(2, first=4)
    assert used.done.all()
    left, right = used.reset(), fresh.reset()
    for _ in range(5):
        assert all(torch.equal(a, b[4:7]) for a, b in zip(left, right, strict=True))
        actions = torch.randint(card.n_actions, (8, card.n_agents), generator=generator)
        left, right = used.step(actions[4:7]), fresh.step(actions)  # type: ignore[assignment]


def test_an_evaluation_follows_from_its_number_and_the_agents_alone() -> None:
    card, net = climbing(), agent(3, 2, 3)
    many, one = evaluator(card, 30, 0.4), evaluator(card, 30, 0.4)
    first, second = many.evaluate(net, 0), many.evaluate(net, 1)
    assert one.evaluate(net, 1) == second != first
    assert many.evaluate(net, 0) == first


def test_rows_of_tensors_are_made_once_and_play_all_at_once(monkeypatch: Any) -> None:
    made = []

    def counting(card: TaskCard, rows: int, *rest: Any) -> Any:
        made.append(rows)
        return make_env(card, rows, *rest)

    monkeypatch.setattr(module, "make_env", counting)
    Trainer(climbing(5), small_config(evaluation={"every": 40, "episodes": 9}), 0).run()
    assert made == [9, 1], "once for all evaluations but the last, whose play is deterministic"


@pytest.mark.parametrize(
    ("task", "settings", "episodes"),
    [
        ("lbf/8x8-2p-2f-coop-2s", {}, 1_000),
        ("mpe/spread-3", {"episodes": 2_000}, 2_000),
        ("pettingzoo", {}, 20),
        ("matrix/climbing", {}, 1),
        ("matrix/climbing", {"epsilon": 0.05}, 1_000),
        ("matrix/climbing", {"final_episodes": 7}, 7),
        ("matrix/climbing-weather", {}, 1_000),
        ("lbf/8x8-2p-2f-coop-2s", {"final_episodes": 7}, 7),
    ],
)
def test_the_last_evaluation_has_as_many_episodes_as_are_cheap_and_tell_something(
    task: str, settings: dict[str, Any], episodes: int
) -> None:
    card = load_card("matrix/climbing" if task == "pettingzoo" else task)
    if task == "pettingzoo":
        card = card.model_copy(update={"env": EnvSpec(kind=task)})
    assert EvaluationConfig(**settings).last_episodes(card) == episodes


def test_greedy_play_of_a_deterministic_kind_is_the_same_episode_every_time() -> None:
    config = small_config(evaluation={"every": 40, "episodes": 9, "final_episodes": 9})
    result = Trainer(climbing(5), config, 0).run()
    assert all(len(set(done.returns)) == 1 for done in result.evaluations)
    alone = small_config(evaluation={"every": 40, "episodes": 9})
    (last,) = Trainer(climbing(5), alone, 0).run().evaluations[-1].returns
    assert last == result.evaluations[-1].returns[0]


def test_rounding_depends_on_no_other_row() -> None:
    """Products of 1 to 40 rows are rounded differently; in blocks no row's values change."""
    net = agent(12, 2, 6)
    obs, last = torch.randn(40, 3, 2, 12), torch.randint(-1, 6, (40, 3, 2))
    whole, plain = in_blocks(net, 40, 0), net.player(40)
    steps = [whole(obs[:, t], last[:, t]) for t in range(3)]
    for t, values in enumerate(steps):
        torch.testing.assert_close(values, plain(obs[:, t], last[:, t]))
    for size in (1, 3, 8, 11):
        for first in range(0, 40 - size, size):
            player, rows = in_blocks(net, size, first), slice(first, first + size)
            for t, values in enumerate(steps):
                assert torch.equal(player(obs[rows, t], last[rows, t]), values[rows])


# ---- engines -------------------------------------------------------------------------------------


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How many environments have been made so far."""
    file = tmp_path / "made"
    file.touch()
    monkeypatch.setenv("QLLM_TEST_COUNT", str(file))
    return lambda: len(file.read_text().splitlines())


def reporting() -> TaskCard:
    """A card of the environments that tell something in their infos."""
    from marl_pettingzoo_batches import card

    named = [
        {"name": "won", "meaning": "1 if won", "take": "last"},
        {"name": "goals", "meaning": "goals", "take": "sum", "agents": "sum"},
    ]
    text = {"n_agents": 2, "n_actions": 3, "action_names": ["a", "b", "c"], "metrics": named}
    return TaskCard.model_validate({**card(4).model_dump(), **text})


def settings(num_envs: int, workers: int = 1, factory: str = "counted") -> dict[str, Any]:
    pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
    from marl_pettingzoo_habits import HABITS

    return {
        "kind": "pettingzoo",
        "num_envs": num_envs,
        "workers": workers,
        "factory": f"{HABITS}:{factory}",
    }


def test_engines_are_made_once_for_all_evaluations(count: Any) -> None:
    config = small_config(env=settings(3, 2), steps=48, evaluation={"every": 12, "episodes": 10})
    result = Trainer(reporting().in_unit(1.0), config, 0).run()  # no play to measure its scale
    assert len(result.evaluations) == 5
    assert count() == 2 * 3  # for the training and for its evaluations
    assert all(len(done.returns) == 10 for done in result.evaluations)


def test_fewer_episodes_than_environments_need_no_more_engines_than_episodes(count: Any) -> None:
    with closing(evaluator(reporting(), 2, **settings(5))) as few:
        assert len(few.evaluate(agent(2, 2, 3), 0).returns) == 2
    assert count() == 2


def test_results_do_not_depend_on_the_size_of_a_wave(count: Any) -> None:
    def play(num_envs: int, workers: int) -> list[Evaluation]:
        net = agent(2, 2, 3)
        with closing(evaluator(reporting(), 10, 0.5, **settings(num_envs, workers))) as some:
            return [some.evaluate(net, index) for index in (0, 1)]

    expected = play(10, 1)
    assert len(set(expected[0].returns)) > 1
    assert play(1, 1) == play(3, 2) == play(4, 1) == play(99, 3) == expected


def test_metrics_reach_the_evaluations_episode_by_episode() -> None:
    with closing(evaluator(reporting(), 10, **settings(4, factory="Reporting"))) as some:
        found = some.evaluate(agent(2, 2, 3), 0).metrics
    assert set(found) == {"won", "goals"}
    assert set(found["won"]) == {0.0, 1.0}
    assert found["goals"] == (sum(2 * t + 1 for t in (1, 2, 3, 4)),) * 10


def test_metrics_stay_through_a_checkpoint(tmp_path: Path) -> None:
    evaluation = {"every": 12, "episodes": 4, "final_episodes": 6}
    config = small_config(env=settings(3, factory="Reporting"), steps=60, evaluation=evaluation)
    whole = Trainer(reporting(), config, 0)
    whole.run()
    asked = iter(["continue", "continue", "stop"])
    Trainer(reporting(), config, 0, run_dir=tmp_path, control=lambda: next(asked)).run()
    resumed = Trainer.resume(reporting(), config, 0, run_dir=tmp_path)
    result = resumed.run()
    assert_same_state(whole, resumed)
    assert [e.metrics for e in result.evaluations] == [e.metrics for e in whole.evaluations]
    assert [len(e.metrics["won"]) for e in result.evaluations] == [4, 4, 4, 4, 4, 6]
    again = Trainer.resume(reporting(), config, 0, run_dir=tmp_path)
    assert [e.metrics for e in again.evaluations] == [e.metrics for e in whole.evaluations]


def test_a_checkpoint_from_before_there_were_metrics_is_read(tmp_path: Path) -> None:
    config = small_config(
        env=settings(3, factory="Reporting"), steps=60, evaluation={"every": 12, "episodes": 4}
    )
    asked = iter(["continue", "continue", "stop"])
    old = reporting().model_copy(update={"metrics": ()})
    Trainer(old, config, 0, run_dir=tmp_path, control=lambda: next(asked)).run()
    resumed = Trainer.resume(reporting(), config, 0, run_dir=tmp_path)
    told = [bool(done.metrics) for done in resumed.run().evaluations]
    assert sorted(told) == told
    assert set(told) == {False, True}


def test_the_training_tells_metrics_of_its_own_episodes() -> None:
    events: list[Any] = []
    config = small_config(env=settings(3, factory="Reporting"), steps=48, log_every=12)
    Trainer(reporting(), config, 0, emit=events.append).run()
    told = [e.values for e in events if type(e).__name__ == "Metrics"]
    assert all({"train_won", "train_goals"} <= set(values) for values in told)
    assert all(values["train_goals"] == 24 for values in told)
