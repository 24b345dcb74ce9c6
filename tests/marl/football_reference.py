"""Episodes of gfootball's own environment, for comparison; runs under the Python that has it.

    python football_reference.py SCENARIO AGENTS SEEDS ACTIONS OUT

SEEDS is a list in JSON, ACTIONS a file with int64 ``[episodes, T, AGENTS]``; OUT gets ``obs``
``[episodes, T+1, AGENTS, 115]``, ``reward`` ``[episodes, T, AGENTS]``, ``goal`` and ``length``.
"""

from __future__ import annotations

import json
import sys
import tempfile

import numpy as np
from gfootball.env import create_environment


def main(scenario: str, agents: int, seeds: list[int], actions: str, out: str) -> None:
    env = create_environment(
        env_name=scenario,
        representation="simple115v2",
        rewards="scoring,checkpoints",
        number_of_left_players_agent_controls=agents,
        logdir=tempfile.gettempdir(),
    )
    config = env.unwrapped._config
    chosen = np.load(actions)
    episodes, steps = chosen.shape[:2]
    obs = np.zeros((episodes, steps + 1, agents, 115), dtype=np.float32)
    reward = np.zeros((episodes, steps, agents))
    goal, length = np.zeros(episodes), np.zeros(episodes, dtype=int)
    for episode, seed in enumerate(seeds):
        config["game_engine_random_seed"] = seed
        config["reverse_team_processing"] = bool(seed % 2)
        obs[episode, 0] = env.reset()
        for t in range(steps):
            obs[episode, t + 1], reward[episode, t], done, info = env.step(
                chosen[episode, t].tolist()
            )
            goal[episode] += info["score_reward"]
            length[episode] = t + 1
            if done:
                break
    np.savez(out, obs=obs, reward=reward, goal=goal, length=length)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4], sys.argv[5])
