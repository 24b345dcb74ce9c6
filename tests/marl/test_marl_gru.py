"""The packed GRU is torch's GRU, forwards and backwards, whatever the lengths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from marl.gru import gru_packed

LENGTHS = {"equal": [4] * 5, "shrinking": [6, 6, 5, 3, 3, 1], "one moment": [3], "one row": [1, 1]}


def layer(dtype: torch.dtype, width: int = 5) -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(7, width).to(dtype)


def gradients(out: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    return torch.autograd.grad((out * torch.randn_like(out)).sum(), inputs)


@pytest.mark.parametrize("counts", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_those_of_torch(counts: list[int], dtype: torch.dtype) -> None:
    gru = layer(dtype)
    torch.manual_seed(1)
    x = torch.randn(sum(counts), 7, dtype=dtype, requires_grad=True)
    expected = gru(PackedSequence(x, torch.tensor(counts)))[0].data
    found = gru_packed(gru, x, counts)
    tolerance = {"rtol": 1e-12, "atol": 1e-13} if dtype == torch.float64 else {}
    torch.testing.assert_close(found, expected, **tolerance)
    inputs = [x, *gru.parameters()]
    for mine, theirs in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerance)


def test_gradients_are_the_slopes_of_the_values() -> None:
    gru, counts = layer(torch.float64, 3), [3, 2, 2, 1]
    x = torch.randn(sum(counts), 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, *_: gru_packed(gru, x, counts), (x, *gru.parameters())
    )


def test_autocast_rounds_the_products_and_keeps_wide_values() -> None:
    gru, counts = layer(torch.float32, 16), [8] * 10
    x = torch.randn(80, 7, requires_grad=True)
    exact = gru_packed(gru, x, counts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = gru_packed(gru, x, counts)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.03)
    inputs = [x, *gru.parameters()]
    for mine, theirs in zip(gradients(rounded, inputs), gradients(exact, inputs), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() < 0.03 * theirs.norm()
