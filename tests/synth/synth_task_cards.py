"""Cards of several shapes, built in the tests: the sampler must be at home in all of them."""

from __future__ import annotations

from typing import Any

from prompts.cards import TaskCard, load_card


def _card(name: str, n_agents: int, state: list[dict[str, Any]], **more: Any) -> TaskCard:
    actions = more.pop("actions", ["stay", "up", "down", "left", "right"])
    return TaskCard.model_validate(
        {
            "name": name,
            "title": name,
            "prose": f"A made-up task called {name}.",
            "n_agents": n_agents,
            "n_actions": len(actions),
            "action_names": actions,
            "horizon": 50,
            "reward": {"low": 0, "high": 1, "meaning": "made up"},
            "state": state,
            "env": {"kind": "none"},
            **more,
        }
    )


def lbf_like() -> TaskCard:
    """Agents and foods with sentinels, last actions: mixed integers."""
    return _card(
        "lbf-like",
        3,
        [
            {
                "name": "agent",
                "shape": [3, 3],
                "agent_axis": 0,
                "kind": "integer",
                "low": 0,
                "high": 9,
                "meaning": "where an agent stands and how strong it is (x, y, level)",
            },
            {
                "name": "food",
                "shape": [4, 3],
                "kind": "integer",
                "low": 0,
                "high": 9,
                "sentinels": [-1],
                "sentinel_meaning": "eaten",
                "meaning": "where a food lies and how heavy it is (x, y, level)",
            },
            {
                "name": "last_action",
                "shape": [3],
                "agent_axis": 0,
                "kind": "integer",
                "low": 0,
                "high": 5,
                "sentinels": [-1],
                "sentinel_meaning": "no action yet",
                "meaning": "index of the action that the agent took",
            },
        ],
        actions=["none", "north", "south", "west", "east", "load"],
    )


def spread_like() -> TaskCard:
    """Real positions and velocities of six interchangeable agents, and landmarks."""
    return _card(
        "spread-like",
        6,
        [
            {
                "name": "velocity",
                "shape": [6, 2],
                "agent_axis": 0,
                "kind": "real",
                "low": -1.5,
                "high": 1.5,
                "meaning": "velocity of the agent",
            },
            {
                "name": "position",
                "shape": [6, 2],
                "agent_axis": 0,
                "kind": "real",
                "low": -2.5,
                "high": 2.5,
                "meaning": "position of the agent",
            },
            {
                "name": "landmark_position",
                "shape": [6, 2],
                "kind": "real",
                "low": -1,
                "high": 1,
                "meaning": "position of the landmark",
            },
            {
                "name": "communication",
                "shape": [6, 5, 2],
                "agent_axis": 0,
                "kind": "real",
                "low": 0,
                "high": 0,
                "meaning": "always silent",
                "unused": True,
            },
        ],
        exchangeable=[[0, 1, 2, 3, 4, 5]],
        reward={"low": -60, "high": 0, "meaning": "negative distances"},
    )


def wide() -> TaskCard:
    """Twenty-two agents with thousands of columns, one-hot and boolean ones among them."""
    return _card(
        "wide",
        22,
        [
            {
                "name": "observation",
                "shape": [115, 22],
                "agent_axis": 1,
                "kind": "real",
                "low": -200,
                "high": 200,
                "meaning": "what the agent sees, as a vector",
            },
            {
                "name": "role",
                "shape": [22, 10],
                "agent_axis": 0,
                "kind": "onehot",
                "low": 0,
                "high": 1,
                "meaning": "role of the player",
            },
            {
                "name": "game_mode",
                "shape": [7],
                "kind": "onehot",
                "low": 0,
                "high": 1,
                "meaning": "kick-off, goal kick, ...",
            },
            {
                "name": "has_ball",
                "shape": [22],
                "agent_axis": 0,
                "kind": "boolean",
                "low": 0,
                "high": 1,
                "meaning": "whether the player owns the ball",
            },
        ],
    )


def no_agent_axis() -> TaskCard:
    """A state that never says which columns belong to whom; hostile words in its meaning."""
    return _card(
        "no-agent-axis",
        4,
        [
            {
                "name": "class",
                "shape": [1],
                "kind": "integer",
                "low": -3,
                "high": 3,
                "meaning": "a keyword as name; ``` ends no block\nand\x1b[31m colours nothing",
            },
            {
                "name": "grid",
                "shape": [3, 4, 5],
                "kind": "real",
                "low": 0.5,
                "high": 2.0,
                "meaning": "occupancy",
            },
        ],
    )


def nothing_to_see() -> TaskCard:
    """Only unused columns."""
    return _card(
        "nothing-to-see",
        2,
        [
            {
                "name": "padding",
                "shape": [3],
                "kind": "real",
                "low": 0,
                "high": 0,
                "meaning": "always zero",
                "unused": True,
            }
        ],
    )


def one_agent() -> TaskCard:
    """A team of one."""
    return _card(
        "one-agent",
        1,
        [
            {
                "name": "position",
                "shape": [1, 2],
                "agent_axis": 0,
                "kind": "integer",
                "low": 0,
                "high": 4,
                "meaning": "cell (row, column)",
            }
        ],
    )


def all_cards() -> list[TaskCard]:
    """Every card the sampler is tried on."""
    return [
        load_card("matrix/climbing"),
        load_card("matrix/penalty-25"),
        lbf_like(),
        spread_like(),
        wide(),
        no_agent_axis(),
        nothing_to_see(),
        one_agent(),
    ]
