"""The mixer for PyMARL is the graph that was trained: values, gradients, a learner's update."""

from __future__ import annotations

import ast
import copy
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sandbox_random_graphs import random_graph
from sandbox_small_graphs import QS, STATE, mixing, small_card
from sandbox_written_functions import MIXING, WEIGHTS, foraging_card, graph_of, source_of
from torch import Tensor, nn

from prompts.cards import TaskCard, load_card
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import Batch, Constant, CreditGraph, DTypeArg, Ref
from sandbox.pymarl import mixer_difference, mixer_source
from sandbox.runtime import CreditFunction

B, T = 3, 4
GATES = [
    GateConfig(),
    GateConfig(function="softmax", scale_by_agents=True),
    GateConfig(mode="relax"),
]


def written(graph: CreditGraph, card: TaskCard, folder: Path, source: str = "") -> nn.Module:
    """The mixer, imported from the file as PyMARL would."""
    path = folder / "mixer.py"
    path.write_text(mixer_source(graph, card, source, ["a title"]), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mixer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mixer(SimpleNamespace(n_agents=card.n_agents))


def drawn(card: TaskCard, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Qs ``[B, T, n]`` and states ``[B, T, s]`` within the card's ranges."""
    torch.manual_seed(seed)
    low, high = (torch.tensor([i[k] for i in card.column_intervals()]) for k in (0, 1))
    states = low + (high - low) * torch.rand(B, T, card.state_dim)
    whole = torch.tensor([s.kind != "real" for s in card.state for _ in range(s.size)])
    return 3 * torch.randn(B, T, card.n_agents), torch.where(whole, states.round(), states)


def assert_same(mixer: nn.Module, graph: CreditGraph, card: TaskCard) -> None:
    qs, states = drawn(card)
    mine, theirs = (qs.clone().requires_grad_() for _ in range(2))
    here = mixer(mine, states)
    there = CreditFunction(graph)(theirs.flatten(0, 1), states.flatten(0, 1))
    assert here.shape == (B, T, 1)
    torch.testing.assert_close(here.flatten(0, 1), there, equal_nan=True)
    if there.requires_grad:
        slopes = [torch.autograd.grad(q.sum(), x)[0] for q, x in ((here, mine), (there, theirs))]
        torch.testing.assert_close(*slopes, equal_nan=True)


@pytest.mark.parametrize(("at", "name"), enumerate([*WEIGHTS, *MIXING][::6]))
def test_a_written_function_is_the_same_as_a_mixer(at: int, name: str, tmp_path: Path) -> None:
    card, gate = foraging_card(), GATES[at % len(GATES)]
    graph = apply_gate(graph_of(name), gate)
    assert_same(written(graph, card, tmp_path, source_of(name)), graph, card)


@pytest.mark.parametrize("seed", range(30))
def test_graphs_of_every_family_of_operations_are_the_same(seed: int, tmp_path: Path) -> None:
    card = small_card(low=-2.0, high=3.0, kind="real" if seed % 2 else "integer")
    graph = apply_gate(random_graph(card, seed), GateConfig(mode="relax", scale_by_agents=True))
    assert_same(written(graph, card, tmp_path), graph, card)


HELPED = """
def tfcaf(agent_position, agent_landmarks):
    distance = agent_landmarks.square().sum(dim=-1).sqrt()
    gap = pairwise_distance(agent_position, agent_position)
    closest = torch.gather(distance, 2, distance.argmin(dim=2, keepdim=True)).squeeze(2)
    bonus = torch.where(count(gap < 0.5).long() // 2 > 0, 0.25, 1.0) * torch.tensor([1.0, 2.0, 3.0])
    return bonus * near(closest, 2.0), -0.1 * nearest(distance).sum(dim=1, keepdim=True)
"""


@pytest.fixture(scope="module")
def helped(warm_sandbox: Sandbox) -> CreditGraph:
    """Of a function with named views, helpers, constants and an index."""
    report = warm_sandbox.check(HELPED, load_card("mpe/spread-3"))
    assert report.graph is not None, report.feedback
    return report.graph


def test_one_file_carries_helpers_and_named_views_and_imports_torch_only(
    helped: CreditGraph, tmp_path: Path
) -> None:
    card = load_card("mpe/spread-3")
    mixer = written(helped, card, tmp_path, HELPED)
    assert_same(mixer, helped, card)
    assert mixer_difference(tmp_path / "mixer.py", helped, card) <= 1e-5
    text = (tmp_path / "mixer.py").read_text()
    imported = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {getattr(n, "module", None) or n.names[0].name for n in imported}
    assert names == {"torch"}
    assert "# line 4: gap = pairwise_distance(agent_position, agent_position)" in text
    assert "src/learners/q_learner.py" in text
    assert "2:4 agent0_position [2]" in text
    assert not list(mixer.parameters())
    assert not mixer.state_dict()
    with pytest.raises(ValueError, match="3 agents and 54 state columns, not for 2 and 54"):
        mixer(torch.zeros(B, T, 2), torch.zeros(B, T, 54))


class _QLearner:
    """PyMARL's QLearner with a mixer: double Q, target networks, one loss over masked steps."""

    def __init__(self, agent: nn.Module, mixer: nn.Module, gamma: float) -> None:
        self.mac, self.mixer, self.gamma = agent, mixer, gamma
        self.params = [*agent.parameters(), *mixer.parameters()]
        self.optimiser = torch.optim.RMSprop(params=self.params, lr=0.01)
        self.target_mac, self.target_mixer = copy.deepcopy(agent), copy.deepcopy(mixer)

    def train(self, batch: dict[str, Tensor]) -> float:
        mac_out, target_mac_out = self.mac(batch["obs"]), self.target_mac(batch["obs"])
        chosen = torch.gather(mac_out[:, :-1], 3, batch["actions"][:, :-1]).squeeze(3)
        mac_out_detach = mac_out.clone().detach()
        best = mac_out_detach[:, 1:].max(dim=3, keepdim=True)[1]
        target_max_qvals = torch.gather(target_mac_out[:, 1:], 3, best).squeeze(3)
        chosen = self.mixer(chosen, batch["state"][:, :-1])
        target_max_qvals = self.target_mixer(target_max_qvals, batch["state"][:, 1:])
        rewards, terminated = batch["reward"][:, :-1], batch["terminated"][:, :-1].float()
        targets = rewards + self.gamma * (1 - terminated) * target_max_qvals
        td_error = chosen - targets.detach()
        mask = batch["filled"][:, :-1].float().expand_as(td_error)
        loss = (td_error * mask).square().sum() / mask.sum()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 10)
        self.optimiser.step()
        self.target_mac.load_state_dict(self.mac.state_dict())
        self.target_mixer.load_state_dict(self.mixer.state_dict())
        return loss.item()


class _Trained(nn.Module):
    """The graph as the trainer has it, in the shape of PyMARL's mixers."""

    def __init__(self, graph: CreditGraph) -> None:
        super().__init__()
        self.function = CreditFunction(graph)

    def forward(self, agent_qs: Tensor, states: Tensor) -> Tensor:
        rows = self.function(agent_qs.flatten(0, 1), states.flatten(0, 1))
        return rows.view(*agent_qs.shape[:2], 1)


def test_a_learner_of_pymarl_learns_the_same_as_with_the_graph(
    helped: CreditGraph, tmp_path: Path
) -> None:
    card, a, o = load_card("mpe/spread-3"), 5, 6
    torch.manual_seed(0)
    _, state = drawn(card)
    batch = {
        "obs": torch.randn(B, T, 3, o),
        "state": state,
        "actions": torch.randint(a, (B, T, 3, 1)),
        "reward": torch.randn(B, T, 1),
        "terminated": torch.rand(B, T, 1) < 0.2,
        "filled": torch.rand(B, T, 1) < 0.9,
    }
    agent = nn.Sequential(nn.Linear(o, 16), nn.ReLU(), nn.Linear(16, a))
    mixers = written(helped, card, tmp_path), _Trained(helped)
    learners = [_QLearner(copy.deepcopy(agent), mixer, 0.99) for mixer in mixers]
    losses = [[learner.train(batch) for _ in range(3)] for learner in learners]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][2] < losses[0][0]
    for mine, theirs in zip(*(x.mac.parameters() for x in learners), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_what_a_source_says_in_its_lines_does_not_run(tmp_path: Path) -> None:
    card = small_card()
    graph = mixing(card, ("sum.dim_IntList", QS, (1,), True))
    operations = tuple(type(o)(o.op, o.args, o.kwargs, line=1) for o in graph.operations)
    graph = apply_gate(CreditGraph(**{**vars(graph), "operations": operations}), GateConfig())
    for end in ("\r", "\x0c", "\u2028", "\x00", "\x85", "\ud800"):
        source = f"x = 1 {end}raise SystemExit"
        assert_same(written(graph, card, tmp_path, source), graph, card)
    title = ["coding: unicode_escape", "coding: unicode_escape \\u000araise SystemExit"]
    path = tmp_path / "titled.py"
    path.write_text(mixer_source(graph, card, r"x = 1 \u000araise SystemExit", title))
    assert mixer_difference(path, graph, card) == 0


def test_a_file_that_is_not_its_graph_is_found_out(tmp_path: Path) -> None:
    card = small_card()
    plain = mixing(card, ("mul.Tensor", QS, 2.0), ("sum.dim_IntList", Ref(2), (1,), True))
    graph, path = apply_gate(plain, GateConfig()), tmp_path / "mixer.py"
    path.write_text(mixer_source(graph, card, "", []).replace("* 2.0", "* 2.1"))
    with pytest.raises(ArithmeticError, match="the mixer and its graph differ by"):
        mixer_difference(path, graph, card)


def test_computed_places_and_numbers_in_every_place_are_the_same(tmp_path: Path) -> None:
    """Indices beyond their range, whole divisions by 0, and what the random graphs leave out."""
    card = small_card(low=-2.0, high=3.0, kind="integer")
    places = Constant("int64", (3,), (2, -7, 9))
    int64, dim = {"dtype": DTypeArg("int64")}, (1,)
    graph = mixing(
        card,
        ("_to_copy.default", STATE, int64),  # 3: [B, 3]
        ("lt.Scalar", STATE, 0),
        ("gather.default", QS, 1, Ref(3)),  # 5
        ("div.Scalar_mode", Ref(3), 2, {"rounding_mode": "floor"}),
        ("remainder.Tensor", Ref(6), Ref(3)),
        ("where.ScalarSelf", Ref(4), 1.5, Ref(5)),  # 8
        ("where.ScalarOther", Ref(4), Ref(8), 2),
        ("where.Scalar", Ref(4), 1.0, -2.0),  # 10
        ("arange.start_step", 0, 1.5, 0.5),
        ("index_select.default", STATE, 1, Ref(2)),
        ("index.Tensor", STATE, (None, Ref(2))),  # 13
        ("scatter_add.default", STATE, 1, Ref(3), Ref(9)),
        ("scatter.value", STATE, 1, Ref(3), 0.25),
        ("clamp.default", Ref(9), float("-inf"), float("inf")),  # 16
        ("linspace.default", 0.0, 1.0, 3),
        ("scalar_tensor.default", float("inf")),
        ("minimum.default", Ref(17), Ref(18)),  # 19
        ("full.default", (Batch(0, 1), 3), 0.5),
        *(("add.Tensor", Ref(20 + k), Ref(of)) for k, of in enumerate(_ADDED)),
        ("mul.Tensor", Ref(20 + len(_ADDED)), Ref(5)),
        ("sum.dim_IntList", Ref(21 + len(_ADDED)), dim, True),
        constants=(places,),
    )
    gated = apply_gate(graph, GateConfig(mode="relax"))
    assert len(gated.operations) == len(graph.operations), "some operation is read by nobody"
    assert_same(written(gated, card, tmp_path), gated, card)


_ADDED = (7, 9, 10, 11, 12, 13, 14, 15, 16, 19)
