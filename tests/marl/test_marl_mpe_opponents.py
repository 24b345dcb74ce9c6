"""The opponents of tag and adversary: the two of our own, and those that a file holds."""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from marl.envs.mpe.core import DIRECTIONS
from marl.envs.mpe.opponents import ScriptedAdversary, ScriptedPrey
from marl.envs.mpe.opposed import OpposedEnv
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import MpeEnvConfig
from prompts.cards import load_card

NONE, LEFT, RIGHT, DOWN, UP = range(5)
CPU = torch.device("cpu")


class Reference(nn.Module):
    """The policy network of the files, written from their tensors' names."""

    def __init__(self, obs_dim: int, hidden: int) -> None:
        super().__init__()
        self.in_fn = nn.BatchNorm1d(obs_dim)
        self.fc1 = nn.Linear(obs_dim, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(self.in_fn(x))))))


def trained(obs_dim: int, hidden: int, seed: int) -> Reference:
    """A network whose statistics and weights are none of the defaults."""
    torch.manual_seed(seed)
    net = Reference(obs_dim, hidden)
    nn.init.normal_(net.in_fn.weight, 1, 0.3)
    nn.init.normal_(net.in_fn.bias)
    for _ in range(20):
        net(torch.randn(64, obs_dim) * 2 + 0.5)
    return net.double().eval()


def saved(path: Path, nets: list[Reference]) -> str:
    """A file as EPyMARL's, in its float32."""
    entries = [{"policy": {k: v.float() for k, v in x.state_dict().items()}} for x in nets]
    torch.save({"agent_params": entries}, path)
    return str(path)


def opposed(task: str, count: int = 64, **config: Any) -> OpposedEnv:
    env = make_env(load_card(task), count, 0, config=MpeEnvConfig.model_validate(config))
    assert isinstance(env, OpposedEnv)
    env.reset()
    return env


@pytest.mark.parametrize(
    ("task", "obs_dim", "hidden", "entry"), [("mpe/tag", 14, 128, -1), ("mpe/adversary", 8, 64, 0)]
)
@pytest.mark.parametrize("numbering", ["original", "mpe2"])
def test_an_opponent_from_a_file_does_what_the_network_says(
    tmp_path: Path, task: str, obs_dim: int, hidden: int, entry: int, numbering: str
) -> None:
    nets = [trained(obs_dim, hidden, seed) for seed in range(3)]
    env = opposed(task, opponent=saved(tmp_path / "p.pt", nets), opponent_numbering=numbering)
    net = nets[entry]
    net.load_state_dict({k: v.float() for k, v in net.state_dict().items()})  # as in the file
    names = "none right left up down" if numbering == "original" else "none left right down up"
    ours = torch.tensor(["none left right down up".split().index(x) for x in names.split()])
    luck, chosen = torch.Generator().manual_seed(0), []
    for _ in range(10):
        seen = env.opponent_obs()
        expected = ours[net(seen.double()).argmax(-1)]
        assert torch.equal(env.opponent(seen), expected)
        chosen.append(expected)
        env.step(torch.randint(5, (64, env.n_agents), generator=luck))
    assert len(torch.cat(chosen).unique()) > 2


@pytest.mark.parametrize("form", ["one agent's entry", "a policy alone", "no normalisation"])
def test_a_policy_may_stand_alone_in_its_file(tmp_path: Path, form: str) -> None:
    net = trained(14, 32, 1)
    policy = {k: v.float() for k, v in net.state_dict().items()}
    if form == "no normalisation":
        policy = {k: v for k, v in policy.items() if not k.startswith("in_fn")}
        net.in_fn = nn.Identity()  # type: ignore[assignment]
    torch.save({"policy": policy} if form == "one agent's entry" else policy, tmp_path / "p.pt")
    env = opposed("mpe/tag", opponent=str(tmp_path / "p.pt"), opponent_numbering="mpe2")
    seen = env.opponent_obs()
    net.load_state_dict(policy, strict=False)
    assert torch.equal(env.opponent(seen), net(seen.double()).argmax(-1))


def without(policy: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k: v for k, v in policy.items() if k != name}


def with_one(policy: dict[str, Tensor], name: str, value: Tensor) -> dict[str, Tensor]:
    return {**policy, name: value}


def quantised(weight: Tensor) -> Tensor:
    return torch.quantize_per_tensor(weight.float(), 0.1, 0, torch.qint8)


def nested() -> Tensor:
    return torch.nested.nested_tensor([torch.ones(3), torch.ones(5)])


@pytest.mark.filterwarnings("ignore:.*(beta state|deprecated|prototype stage)")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda p: without(p, "fc2.bias"), "its policy has no tensor 'fc2.bias'"),
        (lambda p: without(p, "in_fn.bias"), "its policy has no tensor 'in_fn.bias'"),
        (lambda p: with_one(p, "fc3.weight", torch.ones(4, 16)), r"'fc3.weight' has shape \[4, 16"),
        (lambda p: with_one(p, "fc1.bias", torch.tensor(1.0)), "its biases are no vectors"),
        (lambda p: with_one(p, "fc2.bias", torch.full((16,), torch.nan)), "not finite"),
        (lambda p: with_one(p, "in_fn.running_mean", torch.full((14,), torch.inf)), "not finite"),
        (lambda p: with_one(p, "in_fn.running_var", torch.full((14,), -1.0)), "negative variance"),
        (lambda p: {k: torch.full_like(v.double(), 1e300) for k, v in p.items()}, "not finite"),
        (lambda p: with_one(p, "fc2.weight", p["fc2.weight"].to_sparse()), "but sparse_coo"),
        (lambda p: with_one(p, "fc2.weight", p["fc2.weight"].to_sparse_csr()), "but sparse_csr"),
        (lambda p: with_one(p, "fc2.weight", quantised(p["fc2.weight"])), r"torch\.qint8"),
        (lambda p: with_one(p, "fc2.weight", p["fc2.weight"].to("meta")), "on device meta"),
        (lambda p: with_one(p, "fc1.bias", nested()), "but nested"),
        (lambda p: with_one(p, "fc1.bias", torch.ones(16, dtype=torch.int64)), "torch.int64"),
        (lambda p: with_one(p, "fc1.bias", torch.ones(16) * 1j), "torch.complex64"),
        (lambda p: with_one(p, "fc1.bias", torch.ones(1).expand(10**9)), "1,000,000,000 hidden"),
        (lambda p: {"agent_params": []}, "it holds no agent's policy"),
        (lambda p: [1, 2], "it holds no agent's policy"),
        (lambda p: {"policy": 3}, "it holds no agent's policy"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "p.pt"
    torch.save(content(trained(14, 16, 0).state_dict()), path)
    with pytest.raises(SettingsError, match=f"env.opponent: '{path}' does not fit: .*{message}"):
        opposed("mpe/tag", opponent=str(path))


def test_the_file_of_another_game_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "adversary.pt", [trained(8, 16, 0)])
    with pytest.raises(
        SettingsError, match=r"shape \[16, 8\], not \[16, 14\], for 14 observations"
    ):
        opposed("mpe/tag", opponent=path)


def test_a_file_that_is_none_or_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"env\.opponent: there is no file"):
        opposed("mpe/tag", opponent=str(tmp_path / "missing.pt"))
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory"):
        opposed("mpe/tag", opponent=str(tmp_path))
    for content in (b"", b"prey", b"PK\x03\x04 not an archive", bytes(range(256))):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(SettingsError, match=r"is no file of weights that torch saved: \w"):
            opposed("mpe/tag", opponent=str(tmp_path / "x.pt"))


def test_a_file_that_never_ends_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    for name in ("pipe.pt", "zero.pt"):
        with pytest.raises(SettingsError, match=r"cannot be read: .*no regular file"):
            opposed("mpe/tag", opponent=str(tmp_path / name))
    with (tmp_path / "huge.pt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SettingsError, match=r"cannot be read: it is larger than 16,777,216 bytes"):
        opposed("mpe/tag", opponent=str(tmp_path / "huge.pt"))
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(32 << 20))
    with pytest.raises(SettingsError, match=r"unpacked it is larger than 16,777,216 bytes"):
        opposed("mpe/tag", opponent=str(tmp_path / "bomb.pt"))


@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_refused_or_read_whatever_torch_makes_of_it(
    tmp_path: Path, packed: bool
) -> None:
    buffer, luck = io.BytesIO(), random.Random(0)
    policy = {k: v for k, v in trained(14, 16, 0).state_dict().items() if "in_fn" not in k}
    torch.save(policy, buffer, _use_new_zipfile_serialization=packed)
    path = tmp_path / "x.pt"
    refused = 0
    for _ in range(300):
        damaged = bytearray(buffer.getvalue())
        for _ in range(3):
            damaged[luck.randrange(len(damaged) if packed else 1500)] = luck.randrange(256)
        path.write_bytes(damaged)
        try:
            opposed("mpe/tag", 1, opponent=str(path))
        except SettingsError as error:
            refused += "\n" not in str(error)
    assert refused > 50


class Hostile:
    """Would run a function of its own choice if a file were unpickled trustingly."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran-code"),))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"policy": Hostile()}, tmp_path / "x.pt")
    with pytest.raises(SettingsError, match=r"is no file of weights.*: Unsupported glo") as caught:
        opposed("mpe/tag", opponent=str(tmp_path / "x.pt"))
    assert "trust" not in str(caught.value)
    assert not (tmp_path / "ran-code").exists()


def test_a_game_without_an_opponent_takes_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'mpe/spread-3' has no opponent"):
        make_env(load_card("mpe/spread-3"), 1, 0, config=MpeEnvConfig(opponent="x.pt"))


def prey_obs(predators: list[tuple[float, float]], place: tuple[float, float]) -> Tensor:
    """A prey at rest at ``place`` that sees predators, and obstacles far away."""
    far = [(9.0, 9.0), (9.0, -9.0)]
    return torch.tensor([[0.0, 0.0, *place, *sum(far + predators, ())]])


@pytest.mark.parametrize(
    ("predator", "action"),
    [((0.3, 0.0), LEFT), ((-0.3, 0.01), RIGHT), ((0.0, 0.3), DOWN), ((0.01, -0.3), UP)],
)
def test_the_prey_flees_from_the_nearest_predator(
    predator: tuple[float, float], action: int
) -> None:
    prey = ScriptedPrey(CPU, torch.float32)
    seen = prey_obs([predator, (3.0, 3.0), (-3.0, -3.0)], (0.0, 0.0))
    assert prey(seen).tolist() == [action]


def test_the_prey_returns_to_the_arena_when_nobody_is_near() -> None:
    prey = ScriptedPrey(CPU, torch.float32)
    nobody = [(-5.0, -5.0)] * 3
    assert prey(prey_obs(nobody, (2.0, 0.0))).tolist() == [LEFT]
    assert prey(prey_obs(nobody, (0.0, -2.0))).tolist() == [UP]


def test_the_prey_is_hard_to_catch_by_chance_and_can_be_caught_by_chasing() -> None:
    env = opposed("mpe/tag", 400)
    luck, directions = torch.Generator().manual_seed(0), torch.tensor(DIRECTIONS)
    now, earned = env.reset(), {"random": 0.0, "chasing": 0.0}
    for kind in earned:
        now = env.reset()
        for _ in range(25):
            # Where the prey would be if both let themselves drift from now on.
            velocity, prey = now.obs[..., :2], now.obs[..., 12:14]
            ahead = prey + 0.4 * (now.obs[..., 14:] - velocity)
            chasing = (ahead @ directions.mT).argmax(-1)
            chance = torch.randint(5, (400, 3), generator=luck)
            reward, _, _, *after = env.step(chasing if kind == "chasing" else chance)
            now = type(now)(*after)
            earned[kind] += float(reward.mean())
    assert earned["random"] < 5
    assert earned["chasing"] > 10


@pytest.mark.parametrize(
    ("landmarks", "agents", "action"),
    [
        ([(1.0, 0.1), (-1.0, 0.0)], [(0.9, 0.0), (0.0, 2.0)], RIGHT),
        ([(1.0, 0.1), (-1.0, 0.0)], [(-0.9, 0.0), (0.0, 2.0)], LEFT),
        ([(0.1, 1.0), (-1.0, 0.0)], [(0.0, 3.0), (0.0, 1.0)], UP),
        ([(0.1, -0.1), (1.0, 0.0)], [(0.1, -0.1), (0.0, 2.0)], NONE),
    ],
)
def test_the_adversary_goes_where_a_good_agent_is(
    landmarks: list[Any], agents: list[Any], action: int
) -> None:
    seen = torch.tensor([[*sum(landmarks + agents, ())]])
    assert ScriptedAdversary(CPU, torch.float32)(seen).tolist() == [action]
