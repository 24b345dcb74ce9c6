"""A run store with a run of every kind and status, the same each time, for tests of the app.

``build_store(home)`` fills it, ``freeze(monkeypatch)`` stops the clock at its moment. Processes
stand on another host, whose jobs are alive as long as their heartbeats are young: with the clock
stopped they always are, but for the one that died.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session
from tui_replies import REPLIES

from qllm.config.build import build_config
from qllm.store.schema import (
    Attempt,
    Candidate,
    ChatMessage,
    Evaluation,
    Metric,
    Round,
    Run,
    Verdict,
)
from qllm.store.store import Store, open_store

NOW = 1_795_000_000.0
"""The moment at which everything stands still, in seconds since the epoch."""

HOST = "elsewhere"
"""Where the jobs run: what they do is only known from their heartbeats."""

CHECKED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("checked.json").read_text(encoding="utf-8")
)
"""What the sandbox says about each reply of ``tui_replies``, on the climbing game."""

METRICS = ("epsilon", "train_return", "q_tot_mean", "target_mean", "td_error_abs", "loss")

VERSIONS = {"python": "3.11.7", "platform": "Linux x86_64", "qllm": "0.1.0", "torch": "2.13.0"}


@dataclass(frozen=True)
class Ids:
    """Where to find what in the store."""

    pipeline: int = 1
    """A finished ``run``: two rounds of synthesis, qllm and vdn with three seeds each."""
    comparison: int = 8
    """A finished ``compare`` of vdn, qmix and iql with two seeds each."""
    failed: int = 15
    stopped: int = 17
    died: int = 19
    paused: int = 21
    waiting: int = 23
    """A ``synth`` that waits for a person, one reply of it still being written."""
    running: int = 24
    """A ``train`` of two seeds: one at work, one queued."""
    queued: int = 27
    """A ``compare`` that has not begun."""
    accepted_candidate: int = 1
    refused_candidate: int = 2
    """Refused with a counterexample."""
    hostile_candidate: int = 5


IDS = Ids()


def freeze(monkeypatch: pytest.MonkeyPatch, now: float = NOW) -> None:
    """Stop the clock that times in the store are compared with, at the same hour everywhere."""
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def build_store(home: Path) -> Ids:
    """Fill a new store in ``home``."""
    with open_store(home) as store, store.database.write() as session:
        build = _Builder(store, session)
        build.pipeline()
        build.comparison()
        build.single("failed", "qmix", steps=9_000, error="loss is not finite at step 9,000")
        build.single("stopped", "vdn", steps=12_000)
        build.single("died", "vdn", steps=14_000)
        build.single("paused", "iql", steps=8_000)
        build.waiting()
        build.running()
        build.queued()
    return IDS


def empty_store(home: Path) -> None:
    """A store in which nothing has been run."""
    open_store(home).close()


class _Builder:
    """Adds runs one after the other; ids count from 1 in the order of the calls."""

    def __init__(self, store: Store, session: Session) -> None:
        self._store, self._session = store, session

    # -- runs ------------------------------------------------------------------------------

    def run(
        self,
        kind: str,
        status: str,
        *,
        parent: int | None = None,
        algo: str | None = None,
        seed: int | None = None,
        ago: float = 0.0,
        took: float | None = None,
        steps: int = 0,
        total: int = 20_000,
        rate: float | None = None,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        settings: Sequence[str] = (),
        task: str = "matrix/climbing",
    ) -> int:
        """One row of ``runs``; ``ago`` seconds before NOW it was made."""
        begun = status != "queued"
        stored = "running" if status == "died" else status
        ended = status in ("finished", "failed", "stopped")
        created = NOW - ago
        words = [*settings, *([f"algorithm={algo}"] if algo else [])]
        row = Run(
            parent_id=parent,
            kind=kind,
            task=task,
            algo=algo,
            seed=seed,
            status=stored,
            attempt=1 if begun else 0,
            config=_config(task, tuple(words)),
            command=f"qllm {kind} {task} {' '.join(words)}".strip(),
            versions=VERSIONS,
            inputs=dict(inputs or {}),
            created=created,
            started=created + 1 if begun else None,
            ended=created + 1 + (took or 0) if ended else None,
            error=error,
            host=HOST if begun else None,
            boot_id="0" if begun else None,
            pid=4242 if begun else None,
            process_started=1.0 if begun else None,
            beat=(NOW - 900 if status == "died" else NOW) if begun else None,
            env_steps=steps,
            total_steps=total,
            env_steps_per_s=rate,
            result=dict(result) if result is not None else None,
        )
        self._session.add(row)
        self._session.flush()
        if begun:
            self._session.add(Attempt(run_id=row.id, attempt=1, resumed_at=0, started=created + 1))
        self._session.flush()
        return row.id

    def training(
        self, parent: int, algo: str, seed: int, level: float, *, steps: int = 20_000, **run: Any
    ) -> int:
        """One seed of one algorithm, evaluated every thousand steps up to ``steps``."""
        rate = run.pop("rate", 2_500.0)
        status = run.pop("status", "finished")
        result = {"env_steps": steps, "env_steps_per_s": rate, "wall_s": steps / rate}
        if status == "finished":
            run["result"] = {**result, "learnable_parameters": 25_539}
        if steps:
            run.setdefault("took", steps / rate)
        shown = rate if steps else None
        made = self.run(
            "train", status, parent=parent, algo=algo, seed=seed, steps=steps, rate=shown, **run
        )
        if steps:
            self.curves(made, random.Random(f"{algo}{seed}"), level, steps, rate)
        return made

    def curves(
        self, run_id: int, rng: random.Random, level: float, steps: int, rate: float
    ) -> None:
        """Evaluations towards ``level``, and metrics beside them."""
        for at in range(0, steps + 1, 1_000):
            centre = -120 + (level + 120) * (1 - math.exp(-at / 6_000)) + rng.gauss(0, 6)
            returns = [round(centre + rng.gauss(0, 9), 3) for _ in range(8)]
            self._session.add(
                Evaluation(
                    run_id=run_id, attempt=1, env_steps=at, wall_s=at / rate, returns=returns
                )
            )
            values = (
                max(0.05, 1 - 0.95 * at / 10_000),
                centre - 20 + rng.gauss(0, 12),
                3.0 * (1 - math.exp(-at / 5_000)) + rng.gauss(0, 0.1),
                3.1 * (1 - math.exp(-at / 5_000)) + rng.gauss(0, 0.1),
                9.0 * math.exp(-at / 9_000) + rng.random(),
                200.0 * math.exp(-at / 4_000) + 5 * rng.random(),
            )
            for name, value in zip(METRICS, values, strict=True):
                point = {"env_steps": at, "wall_s": at / rate, "name": name}
                self._session.add(Metric(run_id=run_id, attempt=1, value=value, **point))

    def single(self, status: str, algo: str, *, steps: int, error: str | None = None) -> None:
        """A ``train`` of one seed that has not come to its end."""
        ago = {"failed": 6_000.0, "stopped": 5_000.0, "died": 4_000.0, "paused": 600.0}[status]
        parent = self.run(
            "train",
            status,
            algo=algo,
            ago=ago,
            took=steps / 2_500,
            steps=steps,
            rate=2_500.0,
            error=f"1 of 1 trainings failed: {algo}, seed 0: {error}" if error else None,
        )
        level = 120.0 if algo == "vdn" else 60.0
        self.training(
            parent,
            algo,
            0,
            level,
            steps=steps,
            status=status,
            ago=ago,
            error=error,
            took=steps / 2_500,
        )

    def pipeline(self) -> None:
        """The finished ``run``."""
        chosen = CHECKED["weights"]["graph_hash"]
        parent = self.run(
            "run",
            "finished",
            ago=9_000,
            took=96,
            steps=120_000,
            total=120_000,
            rate=2_500.0,
            settings=("seeds=[0,1,2]", "steps=20000", "synth.rounds=2", "synth.candidates=3"),
            inputs={
                "coder": {"name": "sampler", "is_llm": False},
                "evaluator": {"kind": "measured"},
                "tfcaf": "credit.tfcaf.json",
                "name": "candidate 1 of run 1",
                "graph_hash": chosen,
                "candidate_id": 1,
                "pilot_steps": 40_000,
            },
            result={"run": 1, "status": "finished", "candidates": 7, "accepted": 3},
        )
        for algo, level in (("qllm", 188.0), ("vdn", 150.0)):
            for seed in (0, 1, 2):
                self.training(parent, algo, seed, level + 4 * seed, ago=8_950)
        self.synthesis(parent)

    def comparison(self) -> None:
        """The finished ``compare``."""
        parent = self.run(
            "compare",
            "finished",
            ago=7_000,
            took=52,
            steps=120_000,
            total=120_000,
            rate=2_500.0,
            settings=("seeds=[0,1]", "algorithms=[vdn,qmix,iql]"),
        )
        for algo, level in (("vdn", 150.0), ("qmix", 162.0), ("iql", 96.0)):
            for seed in (0, 1):
                self.training(parent, algo, seed, level + 6 * seed, ago=6_990)

    def running(self) -> None:
        """The ``train`` that is at work."""
        parent = self.run(
            "train",
            "running",
            algo="qmix",
            ago=61,
            steps=15_000,
            total=40_000,
            rate=250.0,
            settings=("seeds=[0,1]",),
        )
        self.training(parent, "qmix", 0, 140.0, steps=15_000, status="running", rate=250.0, ago=61)
        self.training(parent, "qmix", 1, 0.0, steps=0, status="queued", ago=61)

    def queued(self) -> None:
        """A ``compare`` that nobody has begun."""
        self.run("compare", "queued", ago=3, total=80_000, task="mpe/spread-3")

    # -- synthesis -------------------------------------------------------------------------

    def synthesis(self, run_id: int) -> None:
        """Two rounds: three slots with a repair each where one was refused."""
        created = NOW - 8_990
        self._opening(run_id, 0, created)
        first = self._candidate(run_id, (0, 0, 0), "weights", created + 1)
        refused = self._candidate(run_id, (0, 1, 0), "falling", created + 2)
        self._turn(run_id, "r0.s1", 3, "user", CHECKED["falling"]["feedback"], created + 2.5)
        repaired = self._candidate(
            run_id, (0, 1, 1), "repaired", created + 3, parent=refused, position=4
        )
        self._candidate(run_id, (0, 2, 0), "endless", created + 4)
        self._pilots(run_id, 0, {None: 139.0, first: 157.0, repaired: 149.5}, created + 20)
        self._round(run_id, 0, created, first, "r0.s0.0")
        self._opening(run_id, 1, created + 40)
        self._candidate(run_id, (1, 0, 0), "hostile", created + 41)
        steady = self._candidate(run_id, (1, 1, 0), "steady", created + 42)
        self._candidate(run_id, (1, 2, 0), "weights", created + 43, duplicate_of=first)
        self._pilots(run_id, 1, {steady: 151.0}, created + 60)
        self._round(run_id, 1, created + 40, first, "r0.s0.0")
        gate = {"function": "abs", "scale_by_agents": False, "mode": "enforce"}
        reason = {**gate, "reason": "set by the configuration (gate.mode)"}
        self._verdict(run_id, "gate", "gate", reason, created)

    def waiting(self) -> None:
        """A ``synth`` that waits for a person, while a reply is being written."""
        run_id = self.run(
            "synth",
            "running",
            ago=240,
            total=0,
            settings=("synth.approve=human", "synth.rounds=2", "synth.candidates=2"),
            inputs={"coder": {"name": "sampler", "is_llm": False}},
        )
        created = NOW - 230
        self._opening(run_id, 0, created)
        first = self._candidate(run_id, (0, 0, 0), "weights", created + 1)
        self._candidate(run_id, (0, 1, 0), "falling", created + 2)
        self._pilots(run_id, 0, {None: 139.0, first: 157.0}, created + 20)
        self._session.add(
            Round(run_id=run_id, attempt=1, round=0, status="running", started=created)
        )
        reason = {
            "round": 0,
            "reason": "r0.s0.0 has the highest final return of 1 measured: 157.0",
            "advice": "Lean on agreement.",
        }
        self._verdict(run_id, "proposal", "round-0-0", reason, created + 30, candidate=first)
        self._turn(
            run_id,
            "r0.s1",
            3,
            "user",
            CHECKED["falling"]["feedback"],
            created + 2.5,
        )
        text = REPLIES["repaired"][:120]
        self._turn(run_id, "r0.s1", 4, "assistant", text, created + 40, streaming=True)

    def _opening(self, run_id: int, round_: int, created: float) -> None:
        system = "You write credit assignment functions for cooperative reinforcement learning."
        task = "# Task: Climbing game\n\nTwo agents play the same one-step matrix game 25 times."
        self._turn(run_id, f"r{round_}", 0, "system", system, created)
        self._turn(run_id, f"r{round_}", 1, "user", task, created)

    def _candidate(
        self,
        run_id: int,
        place: tuple[int, int, int],
        name: str,
        created: float,
        *,
        parent: int | None = None,
        duplicate_of: int | None = None,
        position: int = 2,
    ) -> int:
        report = CHECKED[name]
        self._turn(
            run_id,
            f"r{place[0]}.s{place[1]}",
            position,
            "assistant",
            REPLIES[name],
            created - 0.5,
            model="sampler",
        )
        row = Candidate(
            run_id=run_id,
            attempt=1,
            round=place[0],
            slot=place[1],
            repair=place[2],
            parent_id=parent,
            source=REPLIES[name],
            graph_hash=report["graph_hash"],
            stage=report["stage"],
            verdict=report["verdict"],
            rule=report["rule"],
            duplicate_of=duplicate_of,
            report=report,
            created=created,
        )
        self._session.add(row)
        self._session.flush()
        return row.id

    def _turn(
        self,
        run_id: int,
        conversation: str,
        position: int,
        role: str,
        content: str,
        created: float,
        *,
        model: str | None = None,
        streaming: bool = False,
    ) -> None:
        request = {"key": "k", "index": 0, "n": 1, "finish_reason": "stop", "violation": ""}
        self._session.add(
            ChatMessage(
                run_id=run_id,
                attempt=1,
                conversation=conversation,
                position=position,
                role=role,
                content=content,
                model=model,
                seed=7 if model else None,
                prompt_tokens=1_581 if model else None,
                completion_tokens=183 if model else None,
                latency_s=0.5 if model else None,
                streaming=streaming,
                request=request if model else None,
                created=created,
            )
        )

    def _pilots(
        self, run_id: int, round_: int, scores: Mapping[int | None, float], created: float
    ) -> None:
        for place, (candidate, score) in enumerate(scores.items()):
            row = self._session.get(Candidate, candidate) if candidate else None
            graph = row.graph_hash if row is not None else None
            key = f"r{row.round}.s{row.slot}.{row.repair}" if row is not None else "vdn"
            curve = [[at, -90 + (score + 90) * at / 5_000] for at in range(0, 5_001, 1_000)]
            reason = {
                "key": key,
                "finals": [score - 2 - 0.1 * place, score, score + 2 + 0.1 * place],
                "areas": [score - 31, score - 30, score - 29],
                "final_mean": score,
                "area_mean": score - 30,
                "updates": 1_000,
                "curve": curve,
                "env_steps": 15_000,
                "error": "",
                "graph_hash": graph,
                "seeds": [1_003_000, 1_003_001, 1_003_002],
                "steps": 5_000,
            }
            self._verdict(
                run_id,
                "pilot",
                f"{graph or 'vdn'}@5000",
                reason,
                created,
                score=score,
                round_=round_,
                candidate=candidate,
            )

    def _round(self, run_id: int, round_: int, started: float, chosen: int, key: str) -> None:
        reason = (
            f"{key} has the highest final return of 3: mean return 157; above r0.s1.1, the"
            " nearest, by +7.5 [7.25, 7.75] on 3 seeds"
        )
        advice = "Functions that lean on agreement did better than those that look at one agent."
        self._session.add(
            Round(
                run_id=run_id,
                attempt=1,
                round=round_,
                status="finished",
                started=started,
                ended=started + 35,
                selected_candidate_id=chosen,
                reason=reason,
                advice=advice,
            )
        )
        document = {
            "reason": reason,
            "result": "Trained 3 times for 5,000 environment steps, it ended at 157.",
            "advice": advice,
            "accepted": 2,
            "rejected": 2,
            "duplicates": round_,
            "decided": True,
        }
        self._verdict(
            run_id,
            "selection",
            f"round-{round_}",
            document,
            started + 35,
            round_=round_,
            candidate=chosen,
        )

    def _verdict(
        self,
        run_id: int,
        kind: str,
        key: str,
        reason: Mapping[str, Any],
        created: float,
        *,
        score: float | None = None,
        round_: int | None = None,
        candidate: int | None = None,
    ) -> None:
        self._session.add(
            Verdict(
                run_id=run_id,
                attempt=1,
                kind=kind,
                key=key,
                round=round_,
                candidate_id=candidate,
                score=score,
                reason=dict(reason),
                created=created,
            )
        )


@cache
def _config(task: str, settings: tuple[str, ...]) -> dict[str, Any]:
    return build_config(flags={"task": task}, overrides=settings).model_dump(mode="json")
