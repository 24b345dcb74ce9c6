"""Episodes and networks one step and one agent at a time, for losses written in loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from marl_toys import CountdownEnv, assert_same_state, build_for, climbing, explored, small_config
from torch import Tensor, nn

from marl.agents import make_agent
from marl.algorithms.base import Algorithm, Draw, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.algorithms.value import ValueDecomposition
from marl.algorithms.vdn import VdnMixer
from marl.batch import Batch
from marl.clock import Clock
from marl.episodes import Episodes
from marl.learner import Learner
from marl.settings.agent import AgentConfig
from marl.settings.algorithms import AlgorithmSettings
from marl.streams import Streams
from marl.trainer import Trainer

SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=2, obs_dim=2)
GAMMA = 0.9
AGENTS, ACTIONS = range(3), range(4)


def ragged(count: int = 12) -> Episodes:
    """Episodes of different lengths, terminated and truncated, with unavailable actions."""
    net = make_agent(AgentConfig(hidden=8), 2, 3, 4)
    drawn = explored(CountdownEnv(count, 3), net, 1.0, Streams(0, count))
    assert len(drawn.lengths().unique()) > 2
    assert 0 < drawn.terminated.any(1).sum() < count
    assert not drawn.avail.all()
    wide = {k: v.double() if v.is_floating_point() else v for k, v in drawn.named().items()}
    return Episodes.from_named(wide)


def made_with(config: AlgorithmSettings, **learner: Any) -> Any:
    """The algorithm in float64, its target networks different from the online ones."""
    settings = {"standardise_states": False, **learner}
    made = make_algorithm(build_for(config, SIZES, learner=settings, dtype="float64"))
    torch.manual_seed(1)
    for name, p in made.named_parameters():
        if name.startswith("target_"):
            p.data += 0.2 * torch.randn_like(p)
    return made


def ends(episodes: Episodes, e: int) -> tuple[int, bool]:
    """Steps of an episode, and whether the last one was terminal."""
    length = int(episodes.lengths()[e])
    return length, bool(episodes.terminated[e, length - 1])


def features_in_loops(agent: Any, episodes: Episodes, e: int) -> list[Tensor]:
    """What an agent's last layer sees, ``[n, h]`` at every moment: GRU by its equations."""
    gru, width = agent.gru, agent.config.hidden
    hidden, found = torch.zeros(len(AGENTS), width, dtype=torch.float64), []
    for t in range(episodes.obs.shape[1]):
        rows = []
        for i in AGENTS:
            identity = torch.zeros(len(AGENTS), dtype=torch.float64)
            identity[i] = 1
            x = agent.encoder(torch.cat([episodes.obs[e, t, i], identity])).relu()
            a = (gru.weight_ih_l0 @ x + gru.bias_ih_l0).split(width)
            b = (gru.weight_hh_l0 @ hidden[i] + gru.bias_hh_l0).split(width)
            reset, update = (a[0] + b[0]).sigmoid(), (a[1] + b[1]).sigmoid()
            new = (a[2] + reset * b[2]).tanh()
            rows.append((1 - update) * new + update * hidden[i])
        hidden = torch.stack(rows)
        found.append(hidden)
    return found


def values_in_loops(agent: Any, episodes: Episodes, e: int) -> list[Tensor]:
    """Q-values ``[n, a]`` at every moment of an episode."""
    return [agent.head(hidden) for hidden in features_in_loops(agent, episodes, e)]


def greedy_in_loops(values: Tensor, avail: Tensor) -> list[int]:
    """Each agent's best available action, for values and avail ``[n, a]``."""
    return [max((a for a in ACTIONS if avail[i, a]), key=lambda a: values[i, a]) for i in AGENTS]


def chosen(values: Tensor, actions: Iterable[int]) -> Tensor:
    """``[1, n]``: the agents' values ``[n, a]`` of a joint action."""
    return torch.stack([values[i, int(a)] for i, a in enumerate(actions)])[None]


def lambda_target(
    rewards: list[Tensor], ended: bool, after: list[Tensor], td_lambda: float
) -> list[Tensor]:
    """Forward view of TD(lambda) over an episode; ``after`` are the values of next moments."""
    found = []
    for t in range(len(rewards)):
        longest, total = len(rewards) - t, torch.zeros(())
        for n in range(1, longest + 1):
            g = sum(GAMMA**k * rewards[t + k] for k in range(n))
            if not (ended and t + n == len(rewards)):
                g = g + GAMMA**n * after[t + n - 1]
            weight = td_lambda ** (n - 1) * (1 if n == longest else 1 - td_lambda)
            total = total + weight * g
        found.append(total)
    return found


def assert_same_loss(made: Algorithm, episodes: Episodes, expected: Tensor) -> None:
    """The update's loss and every parameter's gradient are those of an independent loss."""
    trained = [p for group in made.groups().values() for p in group]
    wanted = torch.autograd.grad(expected, trained, allow_unused=True)
    metrics = Learner(made, Clock()).update(Draw(episodes))
    torch.testing.assert_close(metrics["loss"], expected.item(), rtol=1e-9, atol=1e-9)
    norm = torch.stack([g.norm() for g in wanted if g is not None]).norm().item()
    scale = min(1.0, made.learner.grad_clip / (norm + 1e-6))
    for p, gradient in zip(trained, wanted, strict=True):
        found = torch.zeros_like(p) if p.grad is None else p.grad
        other = torch.zeros_like(p) if gradient is None else gradient * scale
        torch.testing.assert_close(found, other, rtol=1e-6, atol=1e-9)


def whole_table(payoff: list[list[float]]) -> Episodes:
    """Every joint action of a one-step game of two agents, once."""
    rows, columns = len(payoff), len(payoff[0])
    count = rows * columns
    nothing, once = torch.zeros(count, 2, 2, 1), torch.ones(count, 1, dtype=torch.bool)
    return Episodes(
        obs=nothing,
        state=nothing[:, :, 0],
        avail=torch.ones(count, 2, 2, columns, dtype=torch.bool),
        actions=torch.cartesian_prod(torch.arange(rows), torch.arange(columns))[:, None],
        reward=torch.tensor(payoff).reshape(count, 1),
        terminated=once,
        filled=once,
    )


def fitted(
    config: AlgorithmSettings, payoff: list[list[float]], updates: int, seed: int = 0
) -> Any:
    """The algorithm after learning from all joint actions alike, the learning rate falling to 0."""
    sizes = TaskSizes(n_agents=2, n_actions=3, state_dim=1, obs_dim=1)
    agent = {"core": "feedforward", "hidden": 32}
    made = make_algorithm(replace(build_for(config, sizes, agent=agent), seed=seed))
    learning = Learner(made, Clock())
    for left in range(updates, 0, -1):
        for group in learning.optimisers["q"].param_groups:
            group["lr"] = 5e-3 * left / updates
        learning.update(Draw(whole_table(payoff)))
    return made


def greedy_of(made: Any) -> list[int]:
    """What the agents play in a one-step game."""
    batch = Batch.of(whole_table([[0.0] * 3] * 3))
    with torch.no_grad():
        qs = made.actor.sequence(made.actor.inputs(batch.obs, batch.last_actions), batch.counts)
    return qs[0].argmax(-1).tolist()


def assert_resumes_and_repeats(algorithm: dict[str, Any], run_dir: Path, credit: Any) -> None:
    """A stopped and resumed training and one with the same seed equal an uninterrupted one."""
    config = small_config(algorithm=algorithm)

    def asked(times: int) -> Iterator[Any]:
        yield from ["continue"] * times
        while True:
            yield "stop"

    whole, same = (Trainer(climbing(5), config, 3, credit=credit) for _ in range(2))
    whole.run()
    same.run()
    assert_same_state(whole, same)
    other = Trainer(climbing(5), config, 4, credit=credit)
    other.run()
    left, right = whole.state_dict(), other.state_dict()
    assert any(not torch.equal(left[name], right[name]) for name in left)
    answers = asked(6)
    first = Trainer(
        climbing(5), config, 3, credit=credit, run_dir=run_dir, control=lambda: next(answers)
    )
    assert first.run().status == "stopped"
    assert first.learner.updates > 0
    resumed = Trainer.resume(climbing(5), config, 3, credit=credit, run_dir=run_dir)
    resumed.run()
    assert_same_state(whole, resumed)


def assert_sum_equals_vdn_mixer(
    kind: type[ValueDecomposition], config: AlgorithmSettings, credit: nn.Module
) -> None:
    """With the plain sum as credit function it learns as with VDN's mixer, number for number."""

    class Summed(kind):  # type: ignore[misc,valid-type]
        def make_mixer(self, build: Any) -> VdnMixer:
            return VdnMixer()

    build = build_for(config, SIZES, credit, dtype="float64")
    learners = [Learner(k(build), Clock()) for k in (kind, Summed)]
    episodes = ragged()
    for learner in learners:
        learner.algorithm.prepare(episodes)
    for _ in range(3):
        metrics = [learner.update(Draw(episodes)) for learner in learners]
        assert metrics[0] == metrics[1]
    left, right = (learner.state_dict() for learner in learners)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
