"""What is trained for ``docs/results``: tasks, settings, algorithms, seeds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from bench.check import FUNCTIONS
from marl.settings.base import laid_over
from marl.settings.presets import PRESETS
from marl.settings.train import TrainConfig
from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.runtime import CreditFunction


@dataclass(frozen=True)
class Training:
    """One seed of one algorithm."""

    label: str
    seed: int
    config: TrainConfig
    function: str | None
    """The credit function's name among ``bench.check.FUNCTIONS``."""
    task: str

    @property
    def folder(self) -> str:
        """Where its checkpoints lie, below the study's own folder."""
        return f"{self.label.replace(' ', '-')}-{self.seed}"

    def credit(self) -> nn.Module | None:
        """The credit function, judged by the sandbox anew."""
        if self.function is None:
            return None
        _, source = FUNCTIONS[self.function]
        with Sandbox() as sandbox:
            report = sandbox.check(source, load_card(self.task))
        if report.graph is None:
            raise ValueError(f"{self.function} is rejected: {report.feedback}")
        return CreditFunction(report.graph)


@dataclass(frozen=True)
class Study:
    """Some algorithms on one task with the same settings, or with a preset's own."""

    title: str
    task: str
    preset: str
    algorithms: tuple[str, ...]
    """Algorithms by label: a name, the name of a credit function behind it, and settings of its
    own (``qllm pay_table``, ``vdn learner.overestimation_weight=0.1``)."""
    seeds: tuple[int, ...]
    unit: str
    """Of what is compared: the return, or the card's metric that ``measure`` names."""
    steps: int = 2_000_000
    settings: tuple[tuple[str, str, Any], ...] = ()
    """Changes of the preset, as (group, key, value); the group may be empty."""
    yardsticks: tuple[tuple[str, float], ...] = ()
    """Published or known figures to hold the results against."""
    reference: tuple[tuple[int, float], ...] = ()
    """A curve to hold the results against: (environment steps, return)."""
    reference_label: str = ""
    measure: str = ""
    """A metric of the card, compared in place of the return."""
    note: str = ""
    """What a reader has to know of the published figures, in a paragraph."""

    def trainings(self) -> tuple[Training, ...]:
        """All of them, a seed of every algorithm before the next seed."""
        return _trainings(self)


def _given(words: list[str]) -> Iterator[tuple[str, str, str]]:
    """Settings behind an algorithm's name, as (group, key, value)."""
    for word in words:
        path, given, value = word.partition("=")
        if given:
            group, _, key = path.partition(".")
            yield group, key, value


@functools.cache
def _trainings(study: Study) -> tuple[Training, ...]:
    preset = PRESETS[study.preset](load_card(study.task).env.kind)
    out = []
    for seed, label in itertools.product(study.seeds, study.algorithms):
        name, *rest = label.split()
        function = next((word for word in rest if "=" not in word), None)
        tree = {k: v for k, v in preset.of(name).items() if k in TrainConfig.model_fields}
        for group, key, value in (*study.settings, *_given(rest)):
            tree = laid_over(tree, {group: {key: value}} if group else {key: value})
        here = {"steps": study.steps, "device": "cpu", "threads": 1, "algorithm": {"name": name}}
        config = TrainConfig.model_validate(laid_over(tree, here))
        out.append(Training(label, seed, config, function, study.task))
    return tuple(out)


_FIVE = (1, 2, 3, 4, 5)
_REFERENCE = "EPyMARL QMIX, one seed, same settings"
_REFERENCE_SETTINGS = (
    ("learner", "batch_size", 64),
    ("learner", "updates_per_rollout", 1),
    ("evaluation", "episodes", 64),
)
"""Of the reference curves: one update on 64 episodes after every 8, where the benchmark has 8."""

STUDIES: dict[str, Study] = {
    "lbf": Study(
        title="Foraging, 8x8, 2 players, 2 foods, cooperative, sight 2",
        task="lbf/8x8-2p-2f-coop-2s",
        preset="equal",
        algorithms=("vdn", "qmix", "qllm beside_food"),
        seeds=_FIVE,
        unit="share of all food, at most 1",
        yardsticks=(("EPyMARL benchmark, best of IQL, VDN, QMIX after tuning", 1.0),),
    ),
    "climbing": Study(
        title="Climbing game, 25 times an episode",
        task="matrix/climbing",
        preset="equal",
        algorithms=(
            "iql",
            "vdn",
            "qmix",
            "vdn learner.overestimation_weight=0.1",
            "owqmix",
            "cwqmix",
            "qllm pay_table",
            "qllm cautious_minimum",
            "qllm cautious_minimum learner.overestimation_weight=0.1",
        ),
        seeds=tuple(range(1, 11)),
        unit="sum of 25 pay-offs, at most 275",
        steps=20_000,
        yardsticks=(
            ("optimum", 275.0),
            ("EPyMARL benchmark, IQL", 195.0),
            ("EPyMARL benchmark, QMIX and VDN", 175.0),
            ("the safe equilibrium's neighbour (5 a step)", 125.0),
        ),
    ),
    "spread-3": Study(
        title="Spread, 3 agents",
        task="mpe/spread-3",
        preset="equal",
        algorithms=("iql", "vdn", "qmix", "qllm own_landmark"),
        seeds=_FIVE,
        unit="team return, 25 steps, local ratio 0.5",
        yardsticks=(
            ("EPyMARL benchmark, QMIX (converted)", -26.0),
            ("EPyMARL benchmark, IQL (converted)", -29.0),
            ("random policy", -79.0),
        ),
    ),
    "spread-3-epymarl": Study(
        title="Spread, 3 agents, one update for every episode",
        task="mpe/spread-3",
        preset="epymarl",
        algorithms=("vdn", "qmix", "qllm own_landmark"),
        seeds=(1, 2, 3),
        unit="team return, 25 steps, local ratio 0.5",
        steps=300_000,
        yardsticks=(
            ("EPyMARL benchmark, QMIX (converted), after 2 million steps", -26.0),
            ("random policy", -79.0),
        ),
        note=(
            "With one update for every eight episodes (`spread-3`) returns follow the number of "
            "updates: -55 after 1,750, -46 after 5,000. One update an episode was therefore "
            "expected to come to about -38 by 300,000 steps (10,000 updates) and to -30 by 2 "
            "million. It does not: -50 to -54 at 300,000. Five times the updates for the same "
            "steps are worth less than five times the steps. One seed of VDN that went on came to "
            "-39.8 at 600,000 steps, short of the -34 that would have borne the expectation out, "
            "so longer trainings were not begun. The benchmark's figure was measured with the "
            "older physics, in which agents move by their new velocity; in mpe2's it is worth "
            "about -30."
        ),
    ),
    "lbf-reference": Study(
        title="QMIX beside EPyMARL's on foraging, 8x8, 2 players, 2 foods, cooperative, sight 2",
        task="lbf/8x8-2p-2f-coop-2s",
        preset="epymarl",
        algorithms=("qmix",),
        seeds=(1, 2, 3),
        unit="share of all food, at most 1",
        steps=600_000,
        settings=_REFERENCE_SETTINGS,
        reference=(
            (250_000, 0.02),
            (350_000, 0.04),
            (450_000, 0.07),
            (500_000, 0.11),
            (550_000, 0.16),
        ),
        reference_label=_REFERENCE,
    ),
    "spread-3-reference": Study(
        title="QMIX beside EPyMARL's on spread with 3 agents",
        task="mpe/spread-3",
        preset="epymarl",
        algorithms=("qmix",),
        seeds=(1, 2, 3),
        unit="team return, 25 steps, local ratio 0.5",
        steps=600_000,
        settings=_REFERENCE_SETTINGS,
        yardsticks=(("random policy", -79.0),),
        reference=(
            (50_000, -146),
            (100_000, -124),
            (200_000, -94),
            (300_000, -69),
            (400_000, -59),
            (500_000, -58),
            (600_000, -58),
        ),
        reference_label=_REFERENCE,
    ),
    "lbf-mappo": Study(
        title="MAPPO on foraging, 8x8, 2 players, 2 foods, cooperative, sight 2",
        task="lbf/8x8-2p-2f-coop-2s",
        preset="epymarl",
        algorithms=("mappo",),
        seeds=(1, 2),
        unit="share of all food, at most 1",
        steps=20_000_000,
        settings=(("evaluation", "every", 250_000), ("", "checkpoint_every", 250_000)),
        yardsticks=(("EPyMARL benchmark, MAPPO, after 20 million steps", 0.85),),
    ),
    "football": Study(
        title="Google Research Football: pass and shoot with keeper",
        task="football/pass-and-shoot",
        preset="equal",
        algorithms=("vdn", "qmix", "qllm passing_lanes"),
        seeds=(1, 2),
        unit="share of episodes with a goal",
        measure="goal_rate",
        steps=500_000,
        settings=(
            ("env", "kind", "football"),
            ("env", "workers", 1),
            ("env", "worker_timeout_s", 600.0),
            ("learner", "replay_capacity", 2_000),
            ("evaluation", "every", 50_000),
            ("evaluation", "episodes", 100),
            ("", "checkpoint_every", 25_000),
        ),
        note="QLLM's authors (arXiv 2504.12961) train football for 2,000,000 steps with the "
        "settings of preset `paper` (GRU 256, batches of 128 episodes, 16 environments, one update "
        "for 16 episodes, TD(1)) and plot the mean return, of which a goal is worth nearly 2 for "
        "each agent and 6 is the most; they publish no goal rates.",
    ),
}
"""By the name that ``python -m bench.results`` takes."""
