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

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence


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


def _product(a: Tensor, b: Tensor, narrow: torch.dtype | None) -> Tensor:
    """a b, with factors rounded to the narrow type where there is one."""
    if narrow is None:
        return a @ b
    return (a.to(narrow) @ b.to(narrow)).to(a.dtype)


class _Gru(torch.autograd.Function):
    """Gates r and z are kept together, apart from n, whose reset gate makes its gradients two."""

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
        gates_u, new_u = recurrent[:two].t(), recurrent[two:].t()
        if narrow is not None:
            gates_u, new_u = gates_u.to(narrow), new_u.to(narrow)
        new_c = recurrent_bias[two:]
        # The biases of r and z on both sides add up; those of n are kept apart by the reset gate.
        gates = _product(x, inner[:two].t(), narrow).add_(inner_bias[:two] + recurrent_bias[:two])
        new = _product(x, inner[two:].t(), narrow).add_(inner_bias[two:])
        inside = torch.empty_like(new)  # h Un + cn, which the backward pass needs
        out = torch.empty_like(new)
        start = 0
        memory = out[:0]
        for t, count in enumerate(counts):
            rows = slice(start, start + count)
            rz, n, un = gates[rows], new[rows], inside[rows]
            before, memory = memory[:count], out[rows]
            if t == 0:
                un.copy_(new_c.expand_as(un))
            elif narrow is None:
                rz.addmm_(before, gates_u)
                torch.addmm(new_c, before, new_u, out=un)
            else:
                short = before.to(narrow)
                rz.add_(short @ gates_u)
                torch.add(short @ new_u, new_c, out=un)
            rz.sigmoid_()
            n.addcmul_(rz[:, :width], un).tanh_()
            if t == 0:
                torch.addcmul(n, n, rz[:, width:], value=-1, out=memory)
            else:
                torch.lerp(n, before, rz[:, width:], out=memory)
            start += count
        ctx.save_for_backward(x, inner, recurrent, gates, new, inside, out)
        ctx.counts, ctx.narrow = counts, narrow
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, inner, recurrent, gates, new, inside, out = ctx.saved_tensors
        counts, narrow = ctx.counts, ctx.narrow
        width = recurrent.shape[1]
        two = 2 * width
        gates_u, new_u = recurrent[:two], recurrent[two:]
        if narrow is not None:
            gates_u, new_u = gates_u.to(narrow), new_u.to(narrow)
        d_gates, d_new, d_inside = (torch.empty_like(kept) for kept in (gates, new, inside))
        earlier = torch.zeros_like(out)  # the memory before each row
        carried: Tensor | None = None  # gradient of the memory, from the moment after
        end = len(out)
        for t in range(len(counts) - 1, -1, -1):
            count = counts[t]
            start = end - count
            rows = slice(start, end)
            d_h = grad_out[rows]
            if carried is not None:
                d_h = d_h.clone()
                d_h[: len(carried)] += carried
            r, z = gates[rows, :width], gates[rows, width:]
            n, before = new[rows], earlier[rows]
            if t > 0:
                before.copy_(out[start - counts[t - 1] :][:count])
            d_r, d_z = d_gates[rows, :width], d_gates[rows, width:]
            d_n, d_un = d_new[rows], d_inside[rows]
            torch.ops.aten.tanh_backward(torch.addcmul(d_h, d_h, z, value=-1), n, grad_input=d_n)
            torch.ops.aten.sigmoid_backward((before - n).mul_(d_h), z, grad_input=d_z)
            torch.ops.aten.sigmoid_backward(d_n * inside[rows], r, grad_input=d_r)
            torch.mul(d_n, r, out=d_un)
            if t > 0:
                carried = d_h * z
                if narrow is None:
                    carried.addmm_(d_gates[rows], gates_u).addmm_(d_un, new_u)
                else:
                    carried.add_(d_gates[rows].to(narrow) @ gates_u)
                    carried.add_(d_un.to(narrow) @ new_u)
            end = start
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = _product(d_gates, inner[:two], narrow).add_(_product(d_new, inner[two:], narrow))
        d_inner = torch.cat([_product(d.t(), x, narrow) for d in (d_gates, d_new)])
        d_recurrent = torch.cat([_product(d.t(), earlier, narrow) for d in (d_gates, d_inside)])
        gates_bias = d_gates.sum(0)
        d_inner_bias = torch.cat([gates_bias, d_new.sum(0)])
        d_recurrent_bias = torch.cat([gates_bias, d_inside.sum(0)])
        return d_x, d_inner, d_recurrent, d_inner_bias, d_recurrent_bias, None, None
