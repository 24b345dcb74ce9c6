"""Cards of level-based foraging with any options, for tests."""

from __future__ import annotations

from prompts.cards import EnvSpec, StateSlice, TaskCard, load_card


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
