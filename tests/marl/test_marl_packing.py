"""Packing finds every step and every moment that matters, and none else."""

from __future__ import annotations

import torch
from marl_toys import CountdownEnv, explored

from marl.agents import make_agent
from marl.episodes import Episodes
from marl.packing import Packing
from marl.settings.agent import AgentConfig
from marl.streams import Streams


def episodes(count: int = 40, seed: int = 3) -> Episodes:
    """Different lengths; some terminated, some cut at the horizon."""
    net = make_agent(AgentConfig(hidden=8), 2, 3, 4)
    return explored(CountdownEnv(count, seed), net, 1.0, Streams(seed, count))


def coordinates(rows: torch.Tensor, width: int) -> list[tuple[int, int]]:
    return [divmod(int(row), width) for row in rows]


def test_every_step_that_happened_is_there_once() -> None:
    batch = episodes()
    packing, horizon = Packing.of(batch), batch.filled.shape[1]
    happened = {(int(e), int(t)) for e, t in batch.filled.nonzero()}
    steps = coordinates(packing.steps, horizon)
    assert len(steps) == len(happened)
    assert set(steps) == happened


def test_steps_lead_from_their_moment_to_the_next_and_terminal_ones_nowhere() -> None:
    batch = episodes()
    packing, horizon = Packing.of(batch), batch.filled.shape[1]
    moments = coordinates(packing.moments, horizon + 1)
    ends = {(int(e), int(t)) for e, t in batch.terminated.nonzero()}
    assert len(ends) not in (0, batch.count)
    triples = zip(coordinates(packing.steps, horizon), packing.now, packing.then, strict=True)
    for (e, t), now, then in triples:
        assert moments[now] == (e, t)
        assert moments[then] == ((e, t) if (e, t) in ends else (e, t + 1))
    assert len(moments) == len(set(moments)) == int(batch.filled.sum()) + batch.count - len(ends)


def test_the_rows_of_a_sequence_stay_in_the_same_place_of_every_moment() -> None:
    batch = episodes()
    packing = Packing.of(batch)
    moments = coordinates(packing.moments, batch.filled.shape[1] + 1)
    assert sum(packing.counts) == len(moments)
    assert packing.counts == sorted(packing.counts, reverse=True)
    order, start = [e for e, _ in moments[: packing.counts[0]]], 0
    for t, count in enumerate(packing.counts):
        assert moments[start : start + count] == [(e, t) for e in order[:count]]
        start += count


def test_spreading_is_the_inverse_of_picking_steps() -> None:
    batch = episodes()
    packing = Packing.of(batch)
    back = packing.spread(packing.of_steps(batch.actions), *batch.filled.shape)
    assert torch.equal(back, batch.actions * batch.filled[..., None])
