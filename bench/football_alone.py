"""Speed of gfootball's own environment, for comparison; runs under the Python that has it.

    python football_alone.py SCENARIO AGENTS EPISODES

Prints the steps and the CPU seconds of random play, resets included, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import numpy as np
from gfootball.env import create_environment

HORIZON = 150


def main(scenario: str, agents: int, episodes: int) -> None:
    """Play some episodes after one that is not counted."""
    env = create_environment(
        env_name=scenario,
        representation="simple115v2",
        rewards="scoring,checkpoints",
        number_of_left_players_agent_controls=agents,
        logdir=tempfile.gettempdir(),
    )
    rng = np.random.default_rng(0)
    steps, begun = 0, 0.0
    for episode in range(episodes + 1):
        if episode == 1:
            steps, begun = 0, time.process_time()
        env.unwrapped._config["game_engine_random_seed"] = episode
        env.unwrapped._config["reverse_team_processing"] = bool(episode % 2)
        env.reset()
        for _ in range(HORIZON):
            *_, done, _ = env.step(rng.integers(19, size=agents).tolist())
            steps += 1
            if done:
                break
    print(json.dumps({"steps": steps, "cpu_s": time.process_time() - begun}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
