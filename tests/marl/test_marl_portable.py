"""Agents to take away: one step is what the player does, in torch and in ONNX."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.agents import Agent, make_agent
from marl.errors import SettingsError
from marl.onnx_step import PACKAGES, require_onnx, write_onnx
from marl.portable import AgentStep, network_of_each, portable_tensors
from marl.settings.agent import AgentConfig

N, OBS, A, B = 3, 4, 5, 2
KINDS = [
    {"core": "gru"},
    {"core": "gru", "last_action": True, "agent_id": False},
    {"core": "feedforward", "last_action": True},
    {"core": "gru", "share": "none"},
    {"core": "gru", "share": "by_type", "last_action": True},
    {"core": "feedforward", "share": "by_type"},
]


def agent(**settings: Any) -> Agent:
    torch.manual_seed(0)
    types = ("b", "a", "b") if settings.get("share") == "by_type" else ()
    made = make_agent(AgentConfig(hidden=8, **settings), OBS, N, A, types)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("settings", KINDS)
def test_a_step_after_another_is_what_the_player_does(settings: dict[str, Any]) -> None:
    net = agent(**settings)
    step, player, hidden = AgentStep(net), net.player(B), torch.zeros(B, N, 8)
    assert step.obs_dim == OBS
    last = torch.full((B, N), -1)
    for t in range(3):
        obs = torch.randn(B, N, OBS)
        extra = (last,) if net.config.last_action else ()
        scores, hidden = step(obs, hidden, *extra)
        torch.testing.assert_close(scores, player(obs, last))
        last = torch.randint(A, (B, N), generator=torch.Generator().manual_seed(t))
    assert hidden.shape == (B, N, 8)
    assert bool(hidden.any()) is (net.config.core == "gru")


@pytest.mark.parametrize(
    ("share", "networks"), [("all", [0, 0, 0]), ("none", [0, 1, 2]), ("by_type", [0, 1, 0])]
)
def test_every_agent_is_led_to_its_network(share: str, networks: list[int]) -> None:
    net = agent(share=share)
    assert network_of_each(net) == networks
    tensors = portable_tensors(net)
    assert {k.partition(".")[0] for k in tensors} == {str(k) for k in networks}
    assert tensors["0.encoder.weight"].shape == (8, OBS + N)
    assert sum(map(Tensor.numel, tensors.values())) == sum(map(Tensor.numel, net.parameters()))


def test_missing_packages_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"onnx, onnxruntime, onnxscript .*'\.\[onnx\]'"):
        require_onnx()


@pytest.mark.slow
@pytest.mark.parametrize("settings", KINDS)
def test_an_onnx_step_is_the_same_for_any_batch(settings: dict[str, Any], tmp_path: Path) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    import onnxruntime

    step, path = AgentStep(agent(**settings)), tmp_path / "model.onnx"
    assert write_onnx(step, path, ("q", "next_hidden")) < 1e-5
    session = onnxruntime.InferenceSession(path)
    names = ["obs", "hidden", "last_actions"][: len(step.examples(1, 0))]
    assert [x.name for x in session.get_inputs()] == names
    assert [x.name for x in session.get_outputs()] == ["q", "next_hidden"]
    assert {x.shape[0] for x in session.get_inputs()} == {"batch"}
    given = step.examples(17, 5)
    ran = session.run(None, {k: x.numpy() for k, x in zip(names, given, strict=True)})
    for there, here in zip(ran, step(*given), strict=True):
        torch.testing.assert_close(torch.from_numpy(there), here)


@pytest.mark.slow
def test_an_onnx_step_that_differs_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    step = AgentStep(agent())
    monkeypatch.setattr("marl.onnx_step._TOLERANCE", -1.0)
    with pytest.raises(ArithmeticError, match="ONNX and torch differ by"):
        write_onnx(step, tmp_path / "model.onnx", ("q", "next_hidden"))
