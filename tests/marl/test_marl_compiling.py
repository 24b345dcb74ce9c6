"""Compiled mixing networks: the same values and gradients, or one clear line."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from marl_toys import mixer_of

from marl.algorithms.base import TaskSizes
from marl.algorithms.mixer import Mixer
from marl.compiling import compile_mixer
from marl.errors import SettingsError
from marl.settings.algorithms import QmixConfig

SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=2)
CPU = torch.device("cpu")


def _mixer() -> Mixer:
    torch.manual_seed(0)
    return mixer_of(QmixConfig(mixing_dim=6, hypernet_dim=6), SIZES)


@pytest.mark.slow  # the compiler takes most of a minute
@pytest.mark.timeout(600)
def test_a_compiled_mixer_gives_the_same_values_and_gradients_for_any_number_of_rows() -> None:
    plain, mixer = _mixer(), _mixer()
    target = copy.deepcopy(mixer).requires_grad_(False)
    graphs: list[int] = []
    torch._dynamo.reset()
    before = mixer.forward
    for network in (mixer, target):
        compile_mixer(network, CPU)
    assert mixer.forward is not before
    for rows in (7, 64, 501):
        qs = torch.randn(rows, 3, generator=torch.Generator().manual_seed(rows))
        state = torch.randn(rows, 2, generator=torch.Generator().manual_seed(rows + 1))
        ours, theirs = mixer(qs, state), plain(qs, state)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(target(qs, state), theirs, rtol=1e-5, atol=1e-6)
        mine = torch.autograd.grad(ours.sum(), [*mixer.parameters()])
        for here, there in zip(
            mine, torch.autograd.grad(theirs.sum(), [*plain.parameters()]), strict=True
        ):
            torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] > 0, "it was compiled"
    assert graphs[1] == graphs[2], "and not anew for every size"


def test_without_a_compiler_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SettingsError, match=r"needs a C\+\+ compiler.*install g\+\+"):
        compile_mixer(_mixer(), CPU)
