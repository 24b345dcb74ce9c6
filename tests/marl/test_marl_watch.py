"""What is noticed of environments that do not keep to their card."""

from __future__ import annotations

from typing import Any

from marl_toys import climbing, explored, small_config

from marl.agents import make_agent
from marl.envs.registry import make_env
from marl.events import Noticed
from marl.settings.agent import AgentConfig
from marl.streams import Streams
from marl.trainer import Trainer
from marl.watch import ROLLOUTS, Watch
from prompts.cards import TaskCard, load_card


def changed(card: TaskCard, **columns: Any) -> TaskCard:
    """The card with other ranges in its first slice, and other rewards if asked for."""
    reward = card.reward.model_copy(update=columns.pop("reward", {}))
    first = card.state[0].model_copy(update=columns)
    return card.model_copy(update={"state": (first, *card.state[1:]), "reward": reward})


def noticed(card: TaskCard, **settings: Any) -> list[Noticed]:
    events: list[Any] = []
    Trainer(card, small_config(**settings), 0, emit=events.append).run()
    return [event for event in events if isinstance(event, Noticed)]


def test_a_card_that_is_right_is_not_remarked() -> None:
    assert noticed(climbing(5)) == []


def test_a_range_that_is_left_is_told_once_with_column_value_and_range() -> None:
    (told,) = noticed(changed(climbing(5), high=1))
    assert told.text == (
        "task 'matrix/climbing': state column last_action[0] reached 2, and the card says -1 to 1; "
        "state column last_action[1] reached 2, and the card says -1 to 1: correct the card, on "
        "whose ranges proofs, tests and the coder rely"
    )
    assert told.about.startswith("ranges of state column last_action[0], ")


def test_sentinels_and_rewards_are_held_against_the_card_too() -> None:
    (told,) = noticed(changed(climbing(5), sentinels=(), reward={"low": -20.0}))
    assert "last_action[0] reached -1, and the card says 0 to 2" in told.text
    assert "the team's reward reached -30, and the card says -20 to 11" in told.text


def test_many_columns_make_one_line() -> None:
    card = load_card("mpe/spread-3")
    narrow = tuple(s.model_copy(update={"low": 0.0, "high": 0.0}) for s in card.state)
    (told, *_) = noticed(card.model_copy(update={"state": narrow}), evaluation={"episodes": 1})
    assert "; 39 more left their ranges" in told.text
    assert len(told.text) < 400


def test_the_first_rollouts_are_watched_and_then_no_more() -> None:
    card = climbing(5)
    env = make_env(card, 4, 0)
    net = make_agent(AgentConfig(hidden=4), env.obs_dim, env.n_agents, env.n_actions)
    luck = Streams(0, 4)
    late = Watch(changed(card, high=1), env)
    calm = explored(env, net, 1.0, luck)
    calm.state.fill_(0)
    for _ in range(ROLLOUTS):
        assert list(late.look(calm)) == []
    assert list(late.look(explored(env, net, 1.0, luck))) == []


def test_what_rounding_adds_is_within_the_range() -> None:
    card = changed(climbing(5), high=2 - 1e-6)
    assert noticed(card) == []


def test_a_resumed_training_does_not_say_it_again(tmp_path: Any) -> None:
    card, events = changed(climbing(5), high=1), list[Any]()
    asked = iter(["continue", "continue", "stop"])
    Trainer(card, small_config(), 0, run_dir=tmp_path, control=lambda: next(asked)).run()  # type: ignore[arg-type,return-value]
    Trainer.resume(card, small_config(), 0, run_dir=tmp_path, emit=events.append).run()
    assert not [event for event in events if isinstance(event, Noticed)]


def test_remarks_of_the_environment_are_told_once(monkeypatch: Any) -> None:
    monkeypatch.setattr("marl.envs.matrix.MatrixGame.remarks", lambda self: {"odd": "it is odd"})
    assert noticed(climbing(5)) == [Noticed("odd", "it is odd")]
