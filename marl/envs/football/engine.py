"""One engine of Google Research Football, made to fit the arrays of a batch.

Runs in a worker process under a Python that has gfootball and numpy; knows no torch and no gym.

gfootball's own environment (``create_environment`` with representation simple115v2 and rewards
scoring,checkpoints) copies each step's observation several times for every agent. Here its core is
played, and observations and rewards are made from what that shows; `tests/football` holds every
number against gfootball's own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marl.envs.workers.metrics import EpisodeMetrics, MetricRule
from marl.envs.workers.spaces import UnfitError

VERSION = "2.10.2"
"""Of gfootball; others have other players, actions or random streams."""
WIDTH = 115
"""Numbers that an agent observes."""
TOLD = ("goal", "conceded")
"""What a step tells besides the reward."""

_PLAYERS = 11
_BALL, _OWNER, _ACTIVE, _MODE = 88, 94, 97, 108  # first columns in simple115v2
_CHECKPOINTS, _CHECKPOINT_PAY = 10, 0.1
_FIRST, _BETWEEN = 0.99, 0.8 / (_CHECKPOINTS - 1)  # distance of the outermost, and to the next


@dataclass(frozen=True)
class Facts:
    """What an engine turned out to play."""

    left: int
    right: int
    """Players of each side, goalkeepers included."""
    n_actions: int


def engines_of(argument: str) -> Callable[[], Engine]:
    """What makes engines of a scenario.

    Args:
        argument: JSON with ``scenario``, ``agents`` (how many players of the left side are
            controlled) and ``checkpoints`` (whether they are paid for).

    Raises:
        UnfitError: gfootball is missing or another version, or it has no such scenario.
    """
    try:
        found = importlib.metadata.version("gfootball")
    except importlib.metadata.PackageNotFoundError:
        raise UnfitError("gfootball is not installed there: `make football` builds it") from None
    if found != VERSION:
        raise UnfitError(f"gfootball {found} is not the {VERSION} that `make football` builds")
    with contextlib.redirect_stderr(io.StringIO()):  # gym's advice is not for who reads of a death
        from gfootball.env import scenario_builder
    wanted = json.loads(argument)
    known = scenario_builder.all_scenarios()
    if wanted["scenario"] not in known:
        academy = ", ".join(name for name in sorted(known) if name.startswith("academy_"))
        raise UnfitError(f"gfootball has no scenario '{wanted['scenario']}'; it has {academy}")
    return lambda: Engine(**wanted)


class Engine:
    """An engine and the rows of the batch that show it.

    Args:
        scenario: name of gfootball's.
        agents: how many players of the left side are controlled.
        checkpoints: whether getting near the other goal with the ball pays.

    Raises:
        UnfitError: the scenario has too few players.
    """

    def __init__(self, scenario: str, agents: int, checkpoints: bool) -> None:
        from gfootball.env import config, football_action_set, football_env_core

        self._config = config.Config(
            {
                "level": scenario,
                "players": [f"agent:left_players={agents},right_players=0"],
                "dump_full_episodes": False,
                "dump_scores": False,
                "write_video": False,
                "tracesdir": tempfile.gettempdir(),
                "game_engine_random_seed": 0,
                "reverse_team_processing": False,
            }
        )
        left, right = (
            len(side)
            for side in (
                self._config.ScenarioConfig().left_team,
                self._config.ScenarioConfig().right_team,
            )
        )
        if not 1 <= agents <= left:
            raise UnfitError(
                f"scenario '{scenario}' has {left} players on the left side, and not {agents} of "
                "them to control: n_agents in the card is wrong"
            )
        self._core = football_env_core.FootballEnvCore(self._config)
        self.facts = Facts(left, right, len(football_action_set.get_action_set(self._config)))
        self._agents, self._checkpoints = agents, checkpoints

    def show_in(
        self, rows: Mapping[str, NDArray[Any]], *, metrics: Sequence[MetricRule] = ()
    ) -> None:
        """Where to show from now on what can be seen.

        Args:
            rows: this instance's row of each array.
            metrics: what of the infos to show, and how.
        """
        self._rows = rows
        self._rows["avail"][...] = True
        self.metrics = EpisodeMetrics(metrics, rows["metrics"])

    def reset(self) -> None:
        """Begin the episode of the seed in the row."""
        seed = int(self._rows["seeds"])
        self._config["game_engine_random_seed"] = seed
        # gfootball takes this from the first seed alone, so that later episodes would depend on it.
        self._config["reverse_team_processing"] = bool(seed % 2)
        self._core.reset()
        self._collected = np.zeros(self._agents, dtype=np.int64)
        self._rows["reward"][...] = self._rows["rewards"][...] = 0
        self._rows["terminated"][...] = self._rows["cut"][...] = False
        self.metrics.begin()
        self._show(self._core._observation)

    def step(self) -> None:
        """Play the actions in the row."""
        seen, score, done, _ = self._core.step(self._rows["actions"].tolist())
        paid = np.full(self._agents, float(score))
        if self._checkpoints:
            paid += _CHECKPOINT_PAY * self._reached(seen, score)
        self._rows["rewards"][:] = paid
        self._rows["reward"][...] = paid.sum()
        self._rows["terminated"][...] = done
        self.metrics.record(dict(zip(TOLD, (score > 0, score < 0), strict=True)))
        self._show(seen)

    def _reached(self, seen: Mapping[str, Any], score: float) -> NDArray[np.int64]:
        """How many checkpoints each agent collects in this step, ``[agents]``."""
        before = self._collected.copy()
        if score == 1:  # a goal pays everybody what is left
            self._collected[:] = _CHECKPOINTS
        elif seen["ball_owned_team"] == 0:
            x, y = seen["ball"][:2]
            distance = ((x - 1) ** 2 + y**2) ** 0.5
            for agent, player in enumerate(seen["left_agent_controlled_player"]):
                if player != seen["ball_owned_player"]:
                    continue
                while (
                    self._collected[agent] < _CHECKPOINTS
                    and distance <= _FIRST - _BETWEEN * self._collected[agent]
                ):
                    self._collected[agent] += 1
        return self._collected - before

    def _show(self, seen: Mapping[str, Any]) -> None:
        """Fill the row in simple115v2: places and movements of both sides, ball, who has it, the
        agent's player, state of the game."""
        obs = self._rows["obs"]
        common = np.full(WIDTH, -1.0)
        for block, name in enumerate(
            ("left_team", "left_team_direction", "right_team", "right_team_direction")
        ):
            values = seen[name].ravel()
            common[2 * _PLAYERS * block :][: values.size] = values
        common[_BALL : _BALL + 3] = seen["ball"]
        common[_BALL + 3 : _OWNER] = seen["ball_direction"]
        common[_OWNER:] = 0
        common[_OWNER + 1 + seen["ball_owned_team"]] = 1
        common[_MODE + seen["game_mode"]] = 1
        obs[:] = common
        for agent, player in enumerate(seen["left_agent_controlled_player"]):
            if player != -1:
                obs[agent, _ACTIVE + player] = 1
        self._rows["state"][:] = obs.reshape(-1)

    def close(self) -> None:
        """Let the engine go; it ends with its process."""
        self._core.close()
