"""Warnings at the start of a job about settings that fit each other badly."""

from __future__ import annotations

from collections.abc import Iterator

from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.units import number, whole


def advice(config: RunConfig, card: TaskCard) -> Iterator[str]:
    """A warning in each line, for a job that trains."""
    short = list(_too_long_for(config, card))
    if short:
        yield f"{whole(config.steps)} steps are few for these settings: {'; '.join(short)}"
    if config.threads > 1:
        yield (
            f"threads={config.threads}: networks this small gain little from threads, and where"
            " other processes use the cores, threads that wait for each other lose most of the"
            " speed (`qllm bench learner --beside N` measures it)"
        )


def _too_long_for(config: RunConfig, card: TaskCard) -> Iterator[str]:
    steps, explore = config.steps, config.exploration
    if config.evaluation.every > steps:
        yield f"evaluation.every={config.evaluation.every} evaluates only once"
    if explore.anneal_steps > steps:
        share = steps / explore.anneal_steps
        last = explore.start + share * (explore.finish - explore.start)
        yield (
            f"exploration.anneal_steps={explore.anneal_steps} leaves epsilon at {number(last)},"
            f" not at {number(explore.finish)}"
        )
    filled = config.learner.batch_size * card.horizon
    if filled > steps:
        yield (
            f"learner.batch_size={config.learner.batch_size} may need {whole(filled)} steps before"
            " the first update"
        )
