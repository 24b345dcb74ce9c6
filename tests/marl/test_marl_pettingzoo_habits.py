"""Environments of PettingZoo as people have them: spaces, masks, rewards, older forms."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from marl.envs.base import BatchedEnv
from marl.envs.workers.instance import Instance, StateSource
from marl.envs.workers.spaces import UnfitError
from marl.errors import SettingsError
from marl.trainer import Trainer
from prompts.cards import TaskCard

pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
import marl_pettingzoo_habits as habits
from marl_pettingzoo_batches import card, make, no_worker_stays
from marl_pettingzoo_habits import HABITS, STEPS
from marl_toys import small_config

_no_worker_stays = pytest.fixture(autouse=True)(no_worker_stays)


class Alone:
    """An instance in this process, and what it shows."""

    def __init__(self, name: str, state: StateSource = "flat") -> None:
        self.instance = Instance(getattr(habits, name))
        facts = self.instance.facts
        sizes = {"own": facts.own_state, "flat": sum(facts.obs_sizes)}
        self.rows: dict[str, NDArray[Any]] = {
            "seeds": np.array(3),
            "actions": np.zeros(2, dtype=np.int64),
            "reward": np.array(0.0),
            "rewards": np.zeros(2),
            "terminated": np.array(False),
            "cut": np.array(False),
            "obs": np.zeros((2, max(facts.obs_sizes))),
            "state": np.zeros(sizes.get(state) or sum(facts.plain_sizes)),
            "avail": np.zeros((2, 3), dtype=bool),
            "metrics": np.zeros(0),
        }
        self.instance.show_in(self.rows, state=state, mean=False, metrics=[])

    def reset(self) -> dict[str, NDArray[Any]]:
        self.instance.reset()
        return self.rows

    def step(self, *actions: int) -> dict[str, NDArray[Any]]:
        self.rows["actions"][:] = actions or (0, 0)
        self.instance.step()
        return self.rows


def task(state_dim: int = 4, **changes: Any) -> TaskCard:
    """The card of these environments."""
    own = {"n_agents": 2, "n_actions": 3, "action_names": ("a", "b", "c"), **changes}
    return card(state_dim).model_copy(update=own)


def made(name: str, state_dim: int = 4) -> BatchedEnv:
    return make(f"{HABITS}:{name}", 1, 1, task=task(state_dim))


def test_a_mask_may_stand_beside_the_observation() -> None:
    env = Alone("InDict")
    assert env.reset()["obs"].shape == (2, 2)
    assert env.rows["avail"].tolist() == [[True, False, True]] * 2
    env.step()
    assert env.rows["obs"][:, 0].tolist() == [1, 1]
    assert env.rows["avail"].all()


SEEN = [0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 7.5, 1, 0, 1]
"""`Mixed` after a step: its cell and phase one-hot, its switches, and where it is."""


def test_every_space_of_a_fixed_size_is_flattened_and_what_is_discrete_one_hot() -> None:
    env = Alone("Mixed")
    env.reset()
    env.step()
    assert env.rows["obs"].tolist() == [SEEN] * 2
    assert env.rows["state"].tolist() == SEEN * 2


def test_the_state_may_have_what_is_discrete_as_numbers() -> None:
    env = Alone("Mixed", "plain")
    env.reset()
    env.step()
    assert env.rows["obs"].tolist() == [SEEN] * 2
    assert env.rows["state"].tolist() == [1, 1, 2, 1, 0, 7.5, 1, 1] * 2


def test_the_card_decides_between_the_forms_of_the_state() -> None:
    for columns in (38, 16):
        with closing(made("Mixed", columns)) as env:
            assert env.reset().state.shape == (1, columns)
    with pytest.raises(SettingsError, match=r"38 numbers in all \(16 with what is discrete as nu"):
        made("Mixed")


def test_what_is_not_in_its_space_is_an_error_and_no_other_value() -> None:
    with pytest.raises(ValueError, match="-1 is not in Discrete"):
        Alone("OutOfSpace").reset()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SeveralChoices", r"MultiDiscrete.*number the combinations as one Discrete\(6\)"),
        ("Switches", r"MultiBinary.*number the combinations as one Discrete\(8\)"),
        ("Continuous", "offer a few of them as a Discrete space"),
        ("Lists", "whose size varies: show Box, Discrete"),
    ],
)
def test_spaces_that_cannot_be_played_are_refused_with_what_to_do(name: str, said: str) -> None:
    with pytest.raises(UnfitError, match=said):
        Alone(name)


@pytest.mark.parametrize("name", ["NothingAtTheEnd", "CutWithNothing"])
def test_an_empty_mask_after_the_last_step_means_nothing(name: str) -> None:
    env = Alone(name)
    env.reset()
    for _ in range(STEPS):
        env.step()
    assert (env.rows["terminated"], env.rows["cut"]) == (name[0] == "N", name[0] == "C")
    assert env.rows["avail"].all()


def test_who_waits_with_an_empty_mask_has_action_0_which_is_passed_on() -> None:
    env = Alone("TakingTurns")
    avail = env.reset()["avail"]
    for t in range(STEPS):
        assert avail[t % 2].all()
        assert avail[1 - t % 2].tolist() == [True, False, False]
        env.step(*(2 * avail[:, 2]))


def test_a_training_survives_empty_masks() -> None:
    env = {"kind": "pettingzoo", "num_envs": 2, "workers": 1, "factory": f"{HABITS}:TakingTurns"}
    config = small_config(env=env, steps=40, evaluation={"every": 20, "episodes": 3, "epsilon": 1})
    assert Trainer(task(), config, 0).run().status == "finished"


def test_rewards_may_be_arrays_of_one_number() -> None:
    env = Alone("Arrays")
    env.reset()
    assert env.step(2, 2)["reward"] == 2.0


def test_reset_may_return_observations_alone() -> None:
    old, new = Alone("OldReset").reset(), Alone("Plain").reset()
    assert all((old[name] == new[name]).all() for name in old)


def test_an_agent_may_leave_early() -> None:
    env = Alone("OneLeavesEarly")
    env.reset()
    paid = [
        (float(row["reward"]), *row["rewards"]) for row in (env.step(2, 2) for _ in range(STEPS))
    ]
    assert paid == [(2, 1, 1), (2, 1, 1), (1, 0, 1), (1, 0, 1)]
    assert env.rows["terminated"]
    assert env.rows["obs"][0].tolist() == [0, 0]
    assert env.rows["avail"][0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoNumber", "reward of left is not finite"),
        ("Vectors", "reward of left has 2 numbers, and should be one"),
        ("Blind", "observation of left is not finite"),
        ("ShortMask", "action_mask of left has 1 entries for 3 actions"),
        ("OldStep", "step returns 4 values, and should return observations, rewards, term"),
    ],
)
def test_what_no_training_can_use_is_told_where_it_comes_from(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        (lambda env: (env.reset(), env.step()))(Alone(name))


def test_a_state_of_the_environments_own_that_is_not_used_is_remarked() -> None:
    with closing(made("OtherState")) as env:
        assert "the environment's state() has 3 and is not used" in env.remarks()["state"]
    with closing(made("OtherState", 3)) as env:
        assert env.remarks() == {}
    with closing(made("Plain")) as env:
        assert env.remarks() == {}
