"""The replay keeps the newest episodes whole and samples them fairly."""

from __future__ import annotations

import pytest
import torch
from marl_toys import explored

from marl.agents import make_agent
from marl.envs.registry import make_env
from marl.episodes import Episodes
from marl.replay import Replay
from marl.settings.agent import AgentConfig
from prompts.cards import load_card

T, N, A, OBS, S = 4, 2, 3, 5, 6


def replay(capacity: int = 10, seed: int = 0) -> Replay:
    return Replay(capacity, T, n_agents=N, n_actions=A, obs_dim=OBS, state_dim=S, seed=seed)


def episodes(numbers: list[int], length: int = T) -> Episodes:
    """Episodes that carry their number in every reward."""
    e = len(numbers)
    filled = (torch.arange(T) < length).expand(e, T)
    number = torch.tensor(numbers, dtype=torch.float32)
    return Episodes(
        obs=torch.randn(e, T + 1, N, OBS),
        state=number[:, None, None].expand(e, T + 1, S),
        avail=torch.ones(e, T + 1, N, A, dtype=torch.bool),
        actions=torch.randint(A, (e, T, N)),
        reward=number[:, None] * filled,
        terminated=torch.zeros(e, T, dtype=torch.bool),
        filled=filled,
    )


def numbers(sample: Episodes) -> list[int]:
    return sorted(sample.state[:, 0, 0].int().tolist())


def test_what_goes_in_comes_out() -> None:
    memory, given = replay(), episodes([7])
    memory.add(given)
    for name, value in memory.sample(1).named().items():
        assert torch.equal(value, given.named()[name]), name


def test_the_oldest_episodes_are_overwritten_first() -> None:
    memory = replay(5)
    for start in range(0, 12, 3):
        memory.add(episodes([start, start + 1, start + 2]))
    assert memory.size == 5
    assert numbers(memory.sample(5)) == [7, 8, 9, 10, 11]
    assert numbers(memory.newest(2)) == [10, 11]
    assert numbers(memory.newest(99)) == [7, 8, 9, 10, 11]


def test_a_sample_has_no_episode_twice_and_every_episode_its_chance() -> None:
    memory = replay(10)
    memory.add(episodes(list(range(10))))
    counts = torch.zeros(10)
    for _ in range(2000):
        drawn = numbers(memory.sample(4))
        assert len(set(drawn)) == 4
        counts[drawn] += 1
    # 800 expected, standard deviation sqrt(2000 * 0.4 * 0.6) = 22
    assert (counts - 800).abs().max() < 110


def test_a_sample_is_cut_to_its_longest_episode() -> None:
    memory = replay()
    memory.add(episodes([1, 2], length=2))
    sample = memory.sample(2)
    assert sample.filled.shape == (2, 2)
    assert sample.state.shape == (2, 3, S)


def test_too_many_at_once_are_refused() -> None:
    memory = replay(3)
    with pytest.raises(ValueError, match="4 episodes do not fit a replay of 3"):
        memory.add(episodes([1, 2, 3, 4]))
    with pytest.raises(ValueError, match="a sample of 1 from 0 episodes"):
        memory.sample(1)


def test_a_replay_continues_exactly_where_its_state_was_taken() -> None:
    memory = replay(5)
    memory.add(episodes([1, 2, 3]))
    memory.add(episodes([4, 5, 6]))
    memory.sample(2)
    state = {name: value.clone() for name, value in memory.state_dict().items()}
    other = replay(5, seed=99)
    other.load_state_dict(state)
    for _ in range(3):
        more = episodes([8, 9])
        memory.add(more)
        other.add(more)
        left, right = memory.sample(3).named(), other.sample(3).named()
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_state_of_other_sizes_is_refused() -> None:
    small, large = replay(2), replay(5)
    large.add(episodes([1, 2, 3]))
    with pytest.raises(ValueError, match="does not fit"):
        small.load_state_dict(large.state_dict())


def test_sampling_leaves_the_global_generator_alone() -> None:
    memory = replay()
    memory.add(episodes([1, 2, 3]))
    before = torch.get_rng_state()
    memory.sample(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_five_thousand_episodes_of_six_agents_take_less_than_400_megabytes() -> None:
    env = make_env(load_card("mpe/spread-6"), 1, 0)
    sizes = {
        "n_agents": env.n_agents,
        "n_actions": env.n_actions,
        "obs_dim": env.obs_dim,
        "state_dim": env.state_dim,
    }
    episode = Replay.episode_bytes(env.horizon, **sizes)
    assert 5000 * episode < 400e6
    kept = Replay(1, env.horizon, **sizes, seed=0)
    kept.add(explored(env, make_agent(AgentConfig(hidden=4), 36, 6, 5), 0.0, None))
    held = kept.sample(1).named().values()
    assert episode == sum(tensor.numel() * tensor.element_size() for tensor in held)
