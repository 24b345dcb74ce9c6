"""A GRU over packed sequences, with a hand-written backward pass for the CPU.

Sequences of different lengths are packed as in `torch.nn.utils.rnn.PackedSequence`: sorted by
length, the longest first, and laid out one moment after the other, so that moment t is a block of
the ``counts[t]`` sequences that reach it. Nothing is computed for moments that no sequence has.

Why not `torch.nn.GRU` on the CPU: its backward pass adds up the gradient of the recurrent weights
moment by moment in small products and makes each of about twenty gradients of a moment a tensor of
its own. Here the gradients of all moments are laid side by side, and the weights' gradient is one
large product; ``docs/performance.md`` has the figures. On a GPU the fused call of cuDNN is used.

With x the input, h the memory before and s the logistic function (Cho et al., 2014, in the form of
cuDNN and torch, where the reset gate comes after the recurrent product):

    r = s(x Wr + h Ur + br),  z = s(x Wz + h Uz + bz)
    n = tanh(x Wn + bn + r * (h Un + cn)),  h' = n + z * (h - n)
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

# The overloads, not the packets: choosing one takes longer than small tensors do.
_TANH_BACKWARD = torch.ops.aten.tanh_backward.grad_input
_SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.grad_input


def gru_packed(gru: nn.GRU, x: Tensor, counts: list[int]) -> Tensor:
    """All memories of one layer over packed sequences that begin with an empty memory.

    Under autocast the products run in its type, memories and gradients stay as wide as the weights.

    Args:
        gru: one layer, one direction, with biases; its parameters are used as they are.
        x: ``[sum(counts), i]``, packed.
        counts: sequences that reach moment 0, 1, ...; never increasing.

    Returns:
        ``[sum(counts), h]``, packed alike.
    """
    if x.is_cuda:
        packed, _ = gru(PackedSequence(x, torch.tensor(counts)))
        return packed.data
    narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    weights = gru.all_weights[0]
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _Gru.apply(x.to(weights[0].dtype), *weights, counts, narrow)
    return out


def _product(
    a: Tensor,
    b: Tensor,
    narrow: torch.dtype | None,
    bias: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """a b + bias, into ``out`` if given (it may be the bias itself).

    The factors are rounded to the narrow type if there is one.
    """
    if narrow is None:
        return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)
    product = (a.to(narrow) @ b.to(narrow)).to(a.dtype)
    product = product if bias is None else product.add_(bias)
    return product if out is None else out.copy_(product)


class _Gru(torch.autograd.Function):
    """``sides`` holds r, z and h Un + cn side by side, so that one product adds h U to all three;
    n, whose input the reset gate keeps apart from that, is a tensor of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inner: Tensor,
        recurrent: Tensor,
        inner_bias: Tensor,
        recurrent_bias: Tensor,
        counts: list[int],
        narrow: torch.dtype | None,
    ) -> Tensor:
        width = recurrent.shape[1]
        two = 2 * width
        factor = (recurrent if narrow is None else recurrent.to(narrow)).t()
        # The biases of r and z on both sides add up.
        bias = torch.cat([inner_bias[:two] + recurrent_bias[:two], recurrent_bias[two:]])
        sides = x.new_empty(len(x), 3 * width)
        sides[:, two:] = bias[two:]
        _product(x, inner[:two].t(), narrow, bias[:two], out=sides[:, :two])
        new = _product(x, inner[two:].t(), narrow, inner_bias[two:])
        out = torch.empty_like(new)
        # Views of every moment, made at once: slicing in the loop costs as much as a small product.
        gates, blocks, news = sides[:, :two].split(counts), sides.split(counts), new.split(counts)
        r, z, un = (part.split(counts) for part in sides.split(width, 1))
        memories = out.split(counts)
        for t, count in enumerate(counts):
            n, memory = news[t], memories[t]
            if t > 0:
                before = memories[t - 1][:count]
                if narrow is None:
                    blocks[t].addmm_(before, factor)
                else:
                    blocks[t].add_(before.to(narrow) @ factor)
            gates[t].sigmoid_()
            n.addcmul_(r[t], un[t]).tanh_()
            if t > 0:
                torch.sub(before, n, out=memory)
            else:
                torch.neg(n, out=memory)
            torch.addcmul(n, z[t], memory, out=memory)
        ctx.save_for_backward(x, inner, recurrent, sides, new, out)
        ctx.counts, ctx.narrow = counts, narrow
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, inner, recurrent, sides, new, out = ctx.saved_tensors
        counts, narrow = ctx.counts, ctx.narrow
        width = recurrent.shape[1]
        two = 2 * width
        factor = recurrent if narrow is None else recurrent.to(narrow)
        d_sides, d_new = torch.empty_like(sides), torch.empty_like(new)
        r, z, un = (part.split(counts) for part in sides.split(width, 1))
        d_r, d_z, d_un = (part.split(counts) for part in d_sides.split(width, 1))
        d_blocks, news, d_news = d_sides.split(counts), new.split(counts), d_new.split(counts)
        memories, d_memories = out.split(counts), grad_out.split(counts)
        d_h = d_memories[-1]
        for t in range(len(counts) - 1, -1, -1):
            count, n, d_n = counts[t], news[t], d_news[t]
            _TANH_BACKWARD(torch.addcmul(d_h, d_h, z[t], value=-1), n, grad_input=d_n)
            change = memories[t - 1][:count] - n if t else -n
            _SIGMOID_BACKWARD(change.mul_(d_h), z[t], grad_input=d_z[t])
            _SIGMOID_BACKWARD(d_n * un[t], r[t], grad_input=d_r[t])
            torch.mul(d_n, r[t], out=d_un[t])
            if t > 0:
                earlier = d_memories[t - 1].clone()
                if narrow is None:
                    earlier[:count].addmm_(d_blocks[t], factor).addcmul_(d_h, z[t])
                else:
                    earlier[:count].add_(d_blocks[t].to(narrow) @ factor).addcmul_(d_h, z[t])
                d_h = earlier
        d_gates = d_sides[:, :two]
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = _product(d_gates, inner[:two], narrow)
            _product(d_new, inner[two:], narrow, d_x, out=d_x)
        d_inner = torch.cat([_product(d.t(), x, narrow) for d in (d_gates, d_new)])
        # The empty memory before the first moment adds nothing to the recurrent weights.
        d_recurrent = _product(d_sides[counts[0] :].t(), _memories_before(out, counts), narrow)
        d_recurrent_bias = d_sides.sum(0)
        d_inner_bias = torch.cat([d_recurrent_bias[:two], d_new.sum(0)])
        return d_x, d_inner, d_recurrent, d_inner_bias, d_recurrent_bias, None, None


def _memories_before(out: Tensor, counts: list[int]) -> Tensor:
    """The memory that each row after the first moment's began with."""
    if counts[-1] == counts[0]:
        return out[: len(out) - counts[0]]
    starts = itertools.accumulate(counts[:-1], initial=0)
    blocks = zip(starts, counts[1:], strict=False)
    return torch.cat([out[start : start + count] for start, count in blocks])
