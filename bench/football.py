"""What our side of football costs on top of the engine, in CPU time.

    python -m bench.football --task football/pass-and-shoot

CPU seconds, not those of the clock, since other work on the machine does not change them. In one
run: gfootball's own environment alone, and ours with one process and with more, whose CPU time is
split into the engines' own, the rest of the workers, and the trainer's side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import torch

from marl.envs.football.env import FootballEnv
from marl.envs.football.install import football_python
from marl.envs.registry import make_env
from marl.settings.env import FootballEnvConfig
from prompts.cards import TaskCard, load_card


def alone(card: TaskCard, episodes: int) -> dict[str, Any]:
    """Steps per CPU second of gfootball's own environment."""
    script = Path(__file__).with_name("football_alone.py")
    scenario = str(card.env.options["scenario"])
    done = subprocess.run(
        [football_python(), str(script), scenario, str(card.n_agents), str(episodes)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {"what": "gfootball alone", "steps_per_cpu_s": found["steps"] / found["cpu_s"]}


def ours(card: TaskCard, processes: int, rounds: int) -> dict[str, Any]:
    """Steps per CPU second of the engines and of everything, one engine in each process."""
    config = FootballEnvConfig(workers=processes)
    with closing(make_env(card, processes, 0, config=config)) as env:
        assert isinstance(env, FootballEnv)
        workers = psutil.Process().children()
        generator = torch.Generator().manual_seed(0)
        env.reset()
        steps, busy, spent, begun = 0, env.busy_s, _spent(workers), time.perf_counter()
        for _ in range(rounds):
            env.reset()
            for _ in range(env.horizon):
                steps += int((~env.done).sum())
                shape = (processes, card.n_agents)
                env.step(torch.randint(card.n_actions, shape, generator=generator))
                if env.done.all():
                    break
        wall = time.perf_counter() - begun
        busy, of_workers, of_ours = (
            now - before
            for now, before in zip((env.busy_s, *_spent(workers)), (busy, *spent), strict=True)
        )
    return {
        "what": f"ours, {processes} processes",
        "steps_per_cpu_s": steps / (of_workers + of_ours),
        "engines_s": busy,
        "rest_of_workers": (of_workers - busy) / busy,
        "trainer_side": of_ours / busy,
        "steps_per_s": steps / wall,
    }


def _spent(workers: list[psutil.Process]) -> tuple[float, float]:
    """CPU seconds so far: of the workers together, and of this process."""
    times = [worker.cpu_times() for worker in workers]
    return sum(t.user + t.system for t in times), time.process_time()


def main(arguments: list[str] | None = None) -> int:
    """The command line; prints a row of JSON for each measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench.football", description=__doc__)
    parser.add_argument("--task", default="football/pass-and-shoot")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 8])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    card = load_card(given.task)
    print(json.dumps(alone(card, given.episodes)), flush=True)
    for count in given.processes:
        print(json.dumps(ours(card, count, max(1, given.episodes // count))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
