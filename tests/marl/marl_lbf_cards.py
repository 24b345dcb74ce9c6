"""Level-based foraging with any options and in any position, for tests."""

from __future__ import annotations

import torch

from marl.envs.lbf.env import Foraging
from marl.envs.registry import make_env
from prompts.cards import EnvSpec, StateSlice, TaskCard, load_card

Entity = tuple[int, int, int]
"""(row, column, level)"""


def foraging_card(
    size: int, players: int, foods: int, sight: int, coop: bool, **changes: object
) -> TaskCard:
    """A card as a user would write it for these options; ``changes`` replace fields of it."""
    options = {"size": size, "players": players, "foods": foods, "sight": sight, "coop": coop}
    columns = StateSlice(
        name="everything",
        shape=(4 * players + 3 * foods,),
        meaning="players, foods, last actions",
        kind="integer",
        low=-1,
        high=max(size, 6),
    )
    fields = {
        "name": "mine",
        "n_agents": players,
        "state": (columns,),
        "exchangeable": (),
        "env": EnvSpec(kind="lbf", options=options),
        **changes,
    }
    return load_card("lbf/8x8-2p-2f-coop-2s").model_copy(update=fields)


def place(env: Foraging, players: list[list[Entity]], foods: list[list[Entity]]) -> None:
    """Let each instance begin an episode in a given position; fewer foods than m is fine."""
    env.reset()
    size, m = env.options.size, env.options.foods
    cells = size * size
    world: dict[str, list[list[int]]] = {
        "player": [[r * size + c for r, c, _ in row] for row in players],
        "player_level": [[level for *_, level in row] for row in players],
        "food": [
            [cells + r * size + c for r, c, _ in row] + [2 * cells] * (m - len(row))
            for row in foods
        ],
        "food_level": [[level for *_, level in row] + [0] * (m - len(row)) for row in foods],
    }
    state = env.state_dict()
    state |= {f"world.{name}": torch.tensor(rows) for name, rows in world.items()}
    env.load_state_dict(state)


def foraging_env(
    size: int, players: int, foods: int, sight: int, coop: bool, num_envs: int, seed: int = 0
) -> Foraging:
    """The environment of such a card, in float64, begun."""
    card = foraging_card(size, players, foods, sight, coop)
    env = make_env(card, num_envs, seed, dtype=torch.float64)
    assert isinstance(env, Foraging)
    env.reset()
    return env
