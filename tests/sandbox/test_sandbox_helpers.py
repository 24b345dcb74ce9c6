"""The helpers do what their page says, are total, and are proved to keep within their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prompts.cards import load_card
from sandbox import names
from sandbox.checker import Sandbox
from sandbox.guards import CandidateError
from sandbox.helpers import HELPERS

CARD = load_card("lbf/8x8-2p-2f-coop-2s")
PAGE = Path(__file__).parents[2] / "docs" / "helpers.md"


def test_prompts_and_page_list_every_helper() -> None:
    assert set(names.HELPERS) == set(HELPERS)
    page, prompt = PAGE.read_text(encoding="utf-8"), names.names_for_prompt()
    for name, (call, _) in names.HELPERS.items():
        assert f"`{name}(" in page
        assert call in prompt


def _places() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 3, 2), torch.randn(5, 4, 2), torch.rand(5, 4) - 0.5


def test_distances_are_those_of_slow_loops() -> None:
    a, b, _ = _places()
    found = HELPERS["pairwise_distance"](a, b)
    to_one = HELPERS["pairwise_distance"](a, b[:, 0])
    for row in range(5):
        for i in range(3):
            slow = [math.dist(a[row, i].tolist(), p) for p in b[row].tolist()]
            assert found[row, i].tolist() == pytest.approx(slow, abs=1e-5)
            assert float(to_one[row, i]) == pytest.approx(slow[0], abs=1e-5)
    assert torch.allclose(HELPERS["length"](a), a.norm(dim=-1))
    assert HELPERS["length"](b[:, 0]).shape == (5, 1)


def test_what_is_near_is_that_of_slow_loops() -> None:
    a, b, worth = _places()
    distance, valid = HELPERS["pairwise_distance"](a, b), worth > 0
    assert 0 < int(valid.sum()) < valid.numel()
    nearest = HELPERS["nearest"](distance, valid)
    furthest = HELPERS["furthest"](distance, valid)
    value = HELPERS["at_nearest"](distance, worth, valid)
    mean = HELPERS["masked_mean"](distance, worth * valid)
    for row in range(5):
        open_ = [k for k in range(4) if valid[row, k]]
        for i in range(3):
            far = distance[row, i].tolist()
            seen = [far[k] for k in open_]
            assert float(nearest[row, i]) == pytest.approx(min(seen, default=max(far)))
            assert float(furthest[row, i]) == pytest.approx(max(seen, default=min(far)))
            best = min(open_, key=far.__getitem__, default=None)
            assert float(value[row, i]) == (0.0 if best is None else float(worth[row, best]))
            slow = sum(seen) / max(1, len(seen))
            assert float(mean[row, i]) == pytest.approx(slow, abs=1e-6)
    nothing = torch.zeros(5, 4)
    assert torch.equal(HELPERS["nearest"](distance, nothing), distance.amax(2))
    assert not HELPERS["at_nearest"](distance, worth, nothing).any()
    assert HELPERS["count"](valid).tolist() == [[float(n)] for n in valid.sum(1)]


def test_parts_and_fractions() -> None:
    x = torch.tensor([[1.0, 3.0, -5.0], [0.0, 0.0, 0.0]])
    assert HELPERS["share"](x).tolist() == [[0.25, 0.75, 0.0], pytest.approx([1 / 3] * 3)]
    assert HELPERS["fraction_of"](x, 2.0).tolist() == [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    whole = torch.tensor([[0.0, 4.0, 1.0]])
    assert HELPERS["fraction_of"](x, whole).tolist() == [[0.0, 0.75, 0.0], [0.0, 0.0, 0.0]]
    assert HELPERS["scaled"](x, -1, 3).tolist() == [[0.5, 1.0, 0.0], [0.25] * 3]
    assert HELPERS["others_mean"](x).tolist() == [[-1.0, -2.0, 2.0], [0.0] * 3]
    assert HELPERS["near"](torch.tensor([[0.0, 2.0, -1.0]]), 2).tolist() == [[1.0, 0.5, 1.0]]
    assert HELPERS["where_valid"](x, x > 0, 9).tolist() == [[1.0, 3.0, 9.0], [9.0] * 3]


def test_smooth_ends_lie_between_end_and_mean_and_rise() -> None:
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    for sharp in (0.05, 1.0, 50.0):
        low, high = HELPERS["soft_min"](x, sharp), HELPERS["soft_max"](x, sharp)
        mean = x.mean(1, keepdim=True)
        assert bool(((x.amin(1, keepdim=True) <= low) & (low <= mean)).all())
        assert bool(((mean <= high) & (high <= x.amax(1, keepdim=True))).all())
        for folded in (low, high):
            (slope,) = torch.autograd.grad(folded.sum(), x, retain_graph=True)
            assert bool((slope >= 0).all())
            assert slope.sum(1).tolist() == pytest.approx([1.0] * 6)


_BAD: dict[str, tuple[Callable[[], object], str]] = {
    "levels for positions": (
        lambda: HELPERS["pairwise_distance"](torch.ones(2, 3), torch.ones(2, 4)),
        "a is [2, 3], b is [2, 4]",
    ),
    "other items": (
        lambda: HELPERS["nearest"](torch.ones(2, 3, 4), torch.ones(2, 5)),
        "first is [2, 3, 4], second is [2, 5]",
    ),
    "a number": (lambda: HELPERS["share"](3.0), "x must be a tensor, not a float"),
    "no mask": (lambda: HELPERS["where_valid"](torch.ones(2, 3), True), "valid must be a tensor"),
    "scale 0": (lambda: HELPERS["near"](torch.ones(2, 3), 0), "a fixed number above 0"),
    "no range": (lambda: HELPERS["scaled"](torch.ones(2, 3), 1, 1), "with low < high"),
    "pairs": (lambda: HELPERS["others_mean"](torch.ones(2, 3, 3)), "a value for each agent"),
}


@pytest.mark.parametrize("name", _BAD)
def test_what_does_not_fit_is_refused_in_shapes(name: str) -> None:
    call, said = _BAD[name]
    with pytest.raises(CandidateError) as caught:
        call()
    assert said in caught.value.message


_BOUNDED = {
    "share(food_level)[:, :1]": (0.0, 1.0),
    "near(nearest(pairwise_distance(agent_position, food_position), food_level > 0))": (0.0, 1.0),
    "fraction_of(agent_level, at_nearest(pairwise_distance(agent_position, food_position), "
    "food_level, food_level > 0))": (0.0, 1.0),
    "scaled(others_mean(agent_level), 0, 6)": (0.0, 1.0),
    "count(food_level > 0)": (0.0, 2.0),
}


@pytest.mark.parametrize("expression", _BOUNDED)
def test_bounds_of_helpers_are_proved(expression: str, warm_sandbox: Sandbox) -> None:
    taken = "agent_position, agent_level, food_position, food_level"
    source = f"def tfcaf({taken}):\n    return ({expression}).expand(-1, 2), 0.0\n"
    report = warm_sandbox.check(source, CARD)
    assert report.accepted, report.feedback
    assert report.finite == "proved"
    assert report.weight_bounds is not None
    low, high = _BOUNDED[expression]
    for at_least, at_most in report.weight_bounds:
        assert low <= at_least <= at_most <= high * (1 + 1e-6)


def test_soft_ends_of_q_are_proved_and_a_name_of_ones_own_hides_a_helper(
    warm_sandbox: Sandbox,
) -> None:
    soft = "def tfcaf(agent_qs, food_level):\n    return soft_min(agent_qs) + soft_max(agent_qs)\n"
    report = warm_sandbox.check(soft, CARD)
    assert (report.verdict, report.igm) == ("accepted", "proved-over-reals"), report.feedback
    own = (
        "def near(x):\n    return 3.0 + 0.0 * x\n\n"
        "def tfcaf(agent_level):\n    share = near(agent_level)\n    return share, 0.0\n"
    )
    report = warm_sandbox.check(own, CARD)
    assert report.weight_bounds == ((3.0, 3.0), (3.0, 3.0)), report.feedback


def test_a_wrong_argument_is_told_with_its_line(warm_sandbox: Sandbox) -> None:
    source = (
        "def tfcaf(agent_level, food_level):\n"
        "    distance = pairwise_distance(agent_level, food_level)\n"
        "    return distance, 0.0\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert report.rule == "export.helper"
    assert "line 2" in report.feedback
    assert "a is [B, 2], b is [B, 2]" in report.feedback
