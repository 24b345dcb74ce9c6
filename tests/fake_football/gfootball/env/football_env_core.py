import os
import sys
from typing import Any

import numpy as np

from gfootball.env.config import Config


class FootballEnvCore:
    """Player 1 walks to the goal with the ball when agent 1 plays 5; its shots (12) score."""

    def __init__(self, config: Config) -> None:
        self._config = config
        scenario = config.ScenarioConfig()
        self._left, self._right = len(scenario.left_team), len(scenario.right_team)
        self._agents = int(config["players"][0].split("left_players=")[1].split(",")[0])

    def reset(self) -> None:
        seed = self._config["game_engine_random_seed"]
        self._rng = np.random.default_rng([seed, self._config["reverse_team_processing"]])
        self._x, self._t = 0.5, 0
        self._look()

    def _look(self) -> None:
        left = self._rng.uniform(-1, 1, (self._left, 2)) * (1, 0.4)
        left[1] = self._x, 0
        self._observation = {
            "left_team": left,
            "left_team_direction": np.zeros((self._left, 2)),
            "right_team": self._rng.uniform(-0.4, 0.4, (self._right, 2)),
            "right_team_direction": np.zeros((self._right, 2)),
            "ball": np.array([self._x, 0, 0.1]),
            "ball_direction": np.zeros(3),
            "ball_owned_team": 0,
            "ball_owned_player": 1,
            "left_agent_controlled_player": list(range(self._agents)),
            "game_mode": 0,
        }

    def step(self, actions: list[int]) -> tuple[dict[str, Any], int, bool, dict[str, Any]]:
        self._t += 1
        if self._config["level"] == "academy_deadly" and self._t == 3:
            print("the pitch caught fire", file=sys.stderr, flush=True)
            os._exit(3)
        if self._config["level"] == "academy_raising" and self._t == 3:
            raise RuntimeError("the referee left")
        self._x = min(1.0, self._x + 0.05 * (actions[1] == 5))
        goal = int(actions[1] == 12)
        self._look()
        return self._observation, goal, bool(goal) or self._t == 40, {}

    def close(self) -> None:
        pass
