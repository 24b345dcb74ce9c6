"""What a card of level-based foraging may ask for."""

from __future__ import annotations

from pydantic import Field, ValidationError

from marl.errors import SettingsError, near_names
from marl.settings.base import Settings
from prompts.cards import TaskCard

N_ACTIONS = 6
"""none, north, south, west, east, load"""
MAX_PLAYER_LEVEL = 2
HELPERS = 3
"""No food is above the level that this many players, the weakest, have together."""


class LbfOptions(Settings):
    """A card's ``env.options``. The upper limits keep the tables of the grid below 150 MB."""

    size: int = Field(strict=True, ge=3, le=50, description="rows and columns of the grid")
    players: int = Field(strict=True, ge=1, le=64)
    foods: int = Field(strict=True, ge=1, le=64)
    sight: int = Field(strict=True, ge=1, description="cells seen in each direction")
    coop: bool = Field(strict=True, description="every food has the highest level it may have")

    @property
    def max_food_level(self) -> int:
        """Highest level that a food can have in any episode."""
        return MAX_PLAYER_LEVEL * min(self.players, HELPERS)


def read_options(card: TaskCard) -> LbfOptions:
    """The options of a card, which must fit its numbers of agents, actions and state columns.

    Raises:
        SettingsError: an option is unknown, missing or out of its range, or the card declares
            sizes that do not follow from the options.
    """

    def refused(what: str) -> SettingsError:
        return SettingsError(f"task '{card.name}': level-based foraging: {what}")

    try:
        options = LbfOptions.model_validate(card.env.options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            hint = near_names(name, LbfOptions.model_fields)
            raise refused(f"unknown option '{name}': {hint}") from None
        if first["type"] == "missing":
            raise refused(f"env.options needs '{name}'") from None
        message = first["msg"].removeprefix("Input ")
        raise refused(f"env.options.{name} is {first['input']!r}, but {message}") from None
    n, m = options.players, options.foods
    if n > options.size**2:
        raise refused(f"{n} players have no room on {options.size} x {options.size} cells")
    if (card.n_agents, card.n_actions) != (n, N_ACTIONS):
        raise refused(
            f"{n} players need n_agents: {n} and n_actions: {N_ACTIONS}, "
            f"but the card declares {card.n_agents} and {card.n_actions}"
        )
    if card.state_dim != 4 * n + 3 * m:
        raise refused(
            f"the state of {n} players and {m} foods has {4 * n + 3 * m} columns (row, column and "
            f"level of each, last actions), but the card declares {card.state_dim}"
        )
    return options
