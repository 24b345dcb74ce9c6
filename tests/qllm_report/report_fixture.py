"""A report such as a whole run on the climbing game would give, for tests and for looking at."""

from __future__ import annotations

import random
from dataclasses import fields, replace

from prompts.cards import load_card
from qllm.facts.candidates import CandidateFacts
from qllm.facts.curves import Curve
from qllm.facts.pilots import Pilot
from qllm.facts.results import ResultRow
from qllm.facts.runs import RunFacts
from qllm.facts.search import RoundFacts, SearchFacts, SearchHead, scores
from qllm.report.data import Report
from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.store.records import Check, PropertyFacts
from qllm.store.schema import ChatMessage

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


def found(
    name: str, status: str, examples: int, counterexample: str | None, detail: str
) -> PropertyFacts:
    """What the sandbox found of a property."""
    return PropertyFacts(
        name=name, status=status, examples=examples, counterexample=counterexample, detail=detail
    )


PROPERTIES = (
    found("shape", "pass", 100, None, "q_tot is [B, 1] for B from 1 to 64"),
    found("finite", "proved", 0, None, "for |Q| up to 1,024, in float32"),
    found("deterministic", "pass", 100, None, ""),
    found("row independence", "pass", 100, None, ""),
    found("monotone", "proved", 0, None, "by the gate (abs)"),
    found(
        "weights vanish", "warn", 100, "last_action = [2, 0]", "one agent's weight is below 0.01"
    ),
)


def candidate(number: int, slot: int, repair: int = 0, **changes: object) -> CandidateFacts:
    """An accepted candidate of round 0 in weights form."""
    label = f"1.{slot + 1}" + (f".{repair}" if repair else "")
    facts = CandidateFacts(
        id=number,
        run_id=12,
        label=label,
        round=0,
        slot=slot,
        repair=repair,
        attempt=1,
        parent_id=number - 1 if repair else None,
        duplicate_of=None,
        verdict="accepted",
        stage="done",
        rule="",
        reply=f"A sampled program:\n\n```python\n{WEIGHTS_CODE}```\n",
        check=Check(
            code=WEIGHTS_CODE,
            signature="weights",
            gate="enforce (abs)",
            igm="by-gate",
            finite="proved",
            linear_in_q=True,
            weight_bounds=[[0.7, 1.55], [0.7, 1.55]],
            q_bound=1024.0,
            properties=list(PROPERTIES),
            evidence=0.0,
            elapsed_s=0.31,
            layers={"seccomp": "live", "landlock": "live", "namespaces": "not offered"},
        ),
        graph_hash=f"{number:02x}" * 32,
        created=1_795_000_000.0,
    )
    return changed(facts, **changes)


def changed(facts: CandidateFacts, **changes: object) -> CandidateFacts:
    """A candidate with other facts, or other findings of the sandbox."""
    own = {name: changes.pop(name) for name in _FACTS & changes.keys()}
    return replace(facts, check=facts.check.model_copy(update=changes), **own)  # type: ignore[arg-type]


_FACTS = {field.name for field in fields(CandidateFacts)}


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
        weight_bounds=(),
        graph_hash=None,
        properties=(
            PROPERTIES[0],
            found(
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


def search(candidates: tuple[CandidateFacts, ...] = (), coder: str = "sampler") -> SearchFacts:
    """A search that nothing is known of but its candidates."""
    is_llm = coder != "sampler"
    head = SearchHead(12, "run", "matrix/climbing", "finished", coder, is_llm, gate="relax")
    return SearchFacts(head, candidates)


def selecting(candidate_id: int, *candidates: CandidateFacts) -> SearchFacts:
    """A search that has selected one of its candidates."""
    return replace(search(candidates), rounds=(RoundFacts(0, selected=candidate_id),))


def reply(content: str, **more: object) -> ChatMessage:
    """A turn of the coder's."""
    facts = {"conversation": "r0", "position": 0, "streaming": False, "prompt_tokens": 412, **more}
    return ChatMessage(role="assistant", content=content, model="sampler", **facts)


def pilot(
    number: int | None,
    graph_hash: str | None,
    final: float | None,
    curve: tuple[tuple[int, float], ...] = (),
    **more: object,
) -> Pilot:
    """A pilot of a candidate, or of the plain sum."""
    seeds = (1_000_000, 1_000_001)
    names = {None: "vdn", 1: "1.1", 3: "1.2.1"}
    facts = Pilot(
        name=names[number],
        function=(number,),
        candidate_id=number,
        graph_hash=graph_hash,
        round=0,
        steps=5_000,
        seeds=seeds,
        finals={} if final is None else {seed: final + at for at, seed in enumerate(seeds)},
        final=final,
        area=final,
        env_steps=10_000,
        updates=0,
        curve=curve,
        relaxed=False,
        error="",
    )
    return replace(facts, **more)  # type: ignore[arg-type]


def full_report() -> Report:
    """A finished run with everything in it."""
    chosen = candidate(1, 0)
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
            signature="",
            igm="",
            finite="",
            linear_in_q=None,
            weight_bounds=(),
            properties=(),
            graph_hash=None,
            feedback="line 2: 'while' is not allowed; use a for loop over range(...) instead",
        ),
        candidate(5, 3, verdict="duplicate", duplicate_of=1, graph_hash=chosen.graph_hash),
    )
    pilots = (
        pilot(None, None, 139.0, tuple((s, -90 + s * 0.0455) for s in range(0, 5001, 500))),
        pilot(
            1, chosen.graph_hash, 157.0, tuple((s, -85 + s * 0.0485) for s in range(0, 5001, 500))
        ),
        pilot(3, "03" * 32, 149.5, tuple((s, -99 + s * 0.0497) for s in range(0, 5001, 500))),
    )
    said = (("system", "You write credit assignment functions."), ("user", "Two agents play."))
    turns = [
        ChatMessage(conversation="r0", position=at, role=role, content=content, streaming=False)
        for at, (role, content) in enumerate(said)
    ]
    turns.append(reply(WEIGHTS_CODE, position=2, completion_tokens=233, latency_s=0.004, seed=7))
    synthesis = replace(
        search(candidates),
        rounds=(
            RoundFacts(
                0,
                selected=1,
                reason="its pilots' mean return is 157.0, the highest of 3 candidates",
                advice="Functions that lean on agreement did better than those that look at one"
                " agent.",
                decided=True,
            ),
            RoundFacts(1, selected=1, decided=True),
        ),
        pilots=pilots,
        scores=scores(candidates, pilots),
        decided=True,
        turns=tuple(turns),
    )
    return Report(
        run=RunFacts(
            id=12,
            kind="run",
            task="matrix/climbing",
            status="finished",
            command="qllm run matrix/climbing --seeds 0,1,2",
            created=1_795_000_000.0,
            elapsed_s=74.2,
        ),
        task=load_card("matrix/climbing"),
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
    )
