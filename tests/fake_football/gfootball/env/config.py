from typing import Any

from gfootball.env.scenario_builder import PLAYERS


class _Scenario:
    def __init__(self, level: str) -> None:
        left, right = PLAYERS[level]
        self.left_team, self.right_team = [0] * left, [0] * right


class Config(dict[str, Any]):
    def ScenarioConfig(self) -> _Scenario:
        return _Scenario(self["level"])
