"""A report such as a whole run on the climbing game would give, for tests and for looking at."""

from __future__ import annotations

import random
from dataclasses import replace

from qllm.report.data import (
    CandidateFacts,
    ConversationFacts,
    Curve,
    PilotCurve,
    PilotFacts,
    PropertyFacts,
    Report,
    ResultRow,
    RoundFacts,
    RunFacts,
    StateSliceFacts,
    SynthesisFacts,
    TaskFacts,
    TurnFacts,
)
from qllm.report.episode import CreditEpisode, SliceTrace

WEIGHTS_CODE = """\
def tfcaf(state):
    # Who played the risky action last time, and was it matched?
    last_action = state[:, 0:2]                       # [B, 2]
    started = (last_action[:, 0] >= 0).float()        # 0 at the first step
    agree = torch.eq(last_action[:, 0], last_action[:, 1]).float() * started
    lean = torch.tanh(0.5 * (last_action - last_action.mean(dim=1, keepdim=True)))
    weights = 1.0 + 0.25 * agree.unsqueeze(1) + 0.3 * lean
    bias = (0.1 * agree).unsqueeze(1)
    return weights, bias
"""

MIXING_CODE = """\
def tfcaf(agent_qs, state):
    last_action = state[:, 0:2]
    gap = last_action[:, 0:1] - last_action[:, 1:2]
    return agent_qs.sum(dim=1, keepdim=True) - 0.5 * torch.relu(agent_qs[:, 1:2] - gap)
"""

PROPERTIES = (
    PropertyFacts("shape", "pass", 100, None, "q_tot is [B, 1] for B from 1 to 64"),
    PropertyFacts("finite", "proved", 0, None, "for |Q| up to 1,024, in float32"),
    PropertyFacts("deterministic", "pass", 100, None, ""),
    PropertyFacts("row independence", "pass", 100, None, ""),
    PropertyFacts("monotone", "proved", 0, None, "by the gate (abs)"),
    PropertyFacts(
        "weights vanish", "warn", 100, "last_action = [2, 0]", "one agent's weight is below 0.01"
    ),
)


def candidate(number: int, slot: int, repair: int = 0, **changes: object) -> CandidateFacts:
    """An accepted candidate of round 0 in weights form."""
    label = f"1.{slot + 1}" + (f".{repair}" if repair else "")
    facts = CandidateFacts(
        id=number,
        label=label,
        round=0,
        slot=slot,
        repair=repair,
        parent=f"1.{slot + 1}" if repair else None,
        verdict="accepted",
        stage="done",
        rule=None,
        code=WEIGHTS_CODE,
        reply=f"A sampled program:\n\n```python\n{WEIGHTS_CODE}```\n",
        feedback="",
        signature="weights",
        gate="enforce (abs)",
        igm="by-gate",
        finite="proved",
        linear_in_q=True,
        weight_bounds=((0.7, 1.55), (0.7, 1.55)),
        q_bound=1024.0,
        properties=PROPERTIES,
        graph_hash=f"{number:02x}" * 32,
        elapsed_s=0.31,
        pilot_mean=150.0 + 7 * number,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def rejected(number: int, slot: int) -> CandidateFacts:
    """A mixing form that falls in an agent's Q."""
    return candidate(
        number,
        slot,
        verdict="rejected",
        stage="properties",
        rule="properties.monotone",
        code=MIXING_CODE,
        reply=MIXING_CODE,
        signature="mixing",
        igm="violated",
        weight_bounds=None,
        graph_hash=None,
        pilot_mean=None,
        properties=(
            PROPERTIES[0],
            PropertyFacts(
                "monotone",
                "fail",
                37,
                "agent_qs[1] from 2.0 to 4.0 at last_action = [0, 1]: q_tot falls from 3.5 to 3.0",
                "",
            ),
        ),
        feedback=(
            "Under the gate 'enforce' q_tot must never fall when an agent's Q rises, but it does:\n"
            "  agent_qs[1] from 2.0 to 4.0 at last_action = [0, 1]: q_tot falls from 3.5 to 3.0\n"
            "Give the function non-negative weights, or write the weights form"
            " (def tfcaf(state): return weights, bias)."
        ),
    )


def curve(algo: str, level: float, seeds: tuple[int, ...] = (0, 1, 2)) -> Curve:
    """A plausible learning curve towards ``level``."""
    rng = random.Random(algo)
    steps = tuple(range(0, 20_001, 1_000))
    centre = tuple(-120 + (level + 120) * (1 - 0.8 ** (s / 1500)) + rng.gauss(0, 4) for s in steps)
    spread = tuple(26 - 0.8 * i + rng.random() * 4 for i in range(len(steps)))
    if len(seeds) == 1:
        return Curve(algo, steps, centre, None, None, seeds)
    low = tuple(c - w for c, w in zip(centre, spread, strict=True))
    high = tuple(c + w for c, w in zip(centre, spread, strict=True))
    return Curve(algo, steps, centre, low, high, seeds)


def rows(algo: str, level: float, pilot_steps: int | None = 0) -> tuple[ResultRow, ...]:
    """Three seeds and their aggregate."""
    common = {"env_steps_per_s": 11_800.0, "learnable_parameters": 26_499, "wall_s": 1.7}
    seeds = tuple(
        ResultRow(
            algo,
            seed,
            env_steps=20_000,
            return_mean=level + 3 * seed + 0.1 * len(algo) * seed,
            return_mean_ci=(level - 4, level + 9),
            return_ci_over="episodes",
            best_return_mean=level + 8,
            return_auc=level - 20,
            pilot_steps=pilot_steps,
            **common,  # type: ignore[arg-type]
        )
        for seed in (0, 1, 2)
    )
    total = replace(
        seeds[1],
        seed=None,
        env_steps=60_000,
        return_iqm=seeds[1].return_mean,
        return_ci=(level - 3, level + 8),
        return_ci_over="seeds",
        wall_s=5.1,
    )
    return (*seeds, total)


def episode() -> CreditEpisode:
    """An episode of the climbing game."""
    steps = 25
    actions = tuple(tuple((t * (i + 2)) % 3 for t in range(steps)) for i in range(2))
    last = tuple((-1.0, *map(float, row[:-1])) for row in actions)
    return CreditEpisode(
        task="matrix/climbing",
        function="candidate 3 of run 12",
        policy="greedy qllm agents of run 13 after 20,000 steps",
        action_names=("a", "b", "c"),
        weights=tuple(tuple(1.0 + 0.2 * x for x in row) for row in last),
        actions=actions,
        rewards=tuple(float((t % 5) * 3 - 2) for t in range(steps)),
        agent_qs=((1.0,) * steps,) * 2,
        linear_in_q=True,
        slices=(
            SliceTrace("last_action", "last_action", "state", ("agent 0", "agent 1"), last, 0.4),
        ),
        seed=0,
    )


def full_report() -> Report:
    """A finished run with everything in it."""
    chosen = candidate(1, 0, selected=True)
    candidates = (
        chosen,
        rejected(2, 1),
        candidate(3, 1, 1, graph_hash="03" * 32, reply="Corrected.\n\n" + WEIGHTS_CODE),
        candidate(
            4,
            2,
            verdict="rejected",
            stage="policy",
            rule="policy.while",
            code="def tfcaf(state):\n    while True:\n        pass\n",
            reply="def tfcaf(state):\n    while True:\n        pass\n",
            signature=None,
            igm=None,
            finite=None,
            linear_in_q=None,
            weight_bounds=None,
            properties=(),
            graph_hash=None,
            pilot_mean=None,
            feedback="line 2: 'while' is not allowed; use a for loop over range(...) instead",
        ),
        candidate(5, 3, duplicate_of="1.1", graph_hash=chosen.graph_hash),
    )
    synthesis = SynthesisFacts(
        coder="sampler",
        coder_is_llm=False,
        gate="enforce (abs)",
        candidates=candidates,
        rounds=(
            RoundFacts(
                0,
                "1.1",
                "its pilots' mean return is 157.0, the highest of 3 candidates",
                "Functions that lean on agreement did better than those that look at one agent.",
            ),
            RoundFacts(1, "1.1", "no candidate of this round did better", ""),
        ),
        pilots=(
            PilotFacts("vdn", 139.0, 131.5, 10_000, baseline=True),
            PilotFacts("1.1", 157.0, 140.1, 10_000, selected=True),
            PilotFacts("1.2.1", 149.5, 132.0, 10_000),
        ),
        pilot_curves=(
            PilotCurve("vdn", tuple((s, -90 + s * 0.0455) for s in range(0, 5001, 500))),
            PilotCurve("1.1", tuple((s, -85 + s * 0.0485) for s in range(0, 5001, 500))),
            PilotCurve("1.2.1", tuple((s, -99 + s * 0.0497) for s in range(0, 5001, 500))),
        ),
        pilot_seeds=(1_000_000, 1_000_001),
        pilot_steps=30_000,
        selected="1.1",
        decided=True,
        selection_reason=("its pilots' mean return is 157.0, the highest of 3 candidates"),
        conversations=(
            ConversationFacts(
                "Round 1, the opening request",
                (
                    TurnFacts("system", "You write credit assignment functions."),
                    TurnFacts("user", "Two agents play the same one-step matrix game 25 times."),
                    TurnFacts("assistant", WEIGHTS_CODE, "sampler", 412, 233, 0.004, seed=7),
                ),
            ),
        ),
    )
    return Report(
        run=RunFacts(
            id=12,
            kind="run",
            task="matrix/climbing",
            status="finished",
            command="qllm run matrix/climbing --seeds 0,1,2",
            created=1_795_000_000.0,
            wall_s=74.2,
        ),
        task=TaskFacts(
            title="Climbing game",
            prose="Two agents play the same one-step matrix game 25 times in a row.\n\n  11  -30",
            n_agents=2,
            n_actions=3,
            horizon=25,
            gamma=0.99,
            reward="-30 to 11: the common pay-off of this step",
            state=(
                StateSliceFacts(
                    "last_action",
                    "0 to 1",
                    "integer",
                    "0 to 2, or -1",
                    "index of the action that this agent took in the previous step (-1: no action"
                    " yet, first step of the episode)",
                ),
            ),
        ),
        synthesis=synthesis,
        episode=episode(),
        rows=(*rows("vdn", 174.0), *rows("qllm", 188.0, pilot_steps=30_000)),
        curves=(curve("vdn", 174.0), curve("qllm", 188.0)),
        curve_words=(
            "Line: interquartile mean over seeds of the mean return of each greedy evaluation;"
            " band: 95% bootstrap interval over seeds."
        ),
        seeds=(0, 1, 2),
        settings_yaml="task: matrix/climbing\nsteps: 20000\nalgorithm:\n  name: qllm\n",
        versions={"qllm": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        isolation={"seccomp": "live", "landlock": "live", "namespaces": "not offered"},
    )
