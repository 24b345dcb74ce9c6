"""Named views: which there are, where they lie, what they are called."""

from __future__ import annotations

import pytest

from prompts.cards import TaskCard, list_tasks, load_card, load_listed
from prompts.views import all_views, state_views


def columns(card: TaskCard, name: str) -> list[int]:
    view = all_views(card)[name]
    return [at for start in view.starts for at in range(start, start + view.member.size)]


def test_fields_of_numbered_things_are_stacked() -> None:
    views = state_views(load_card("lbf/10x10-3p-3f-2s"))
    assert {name: view.shape_text for name, view in views.items()} == {
        "agent_position": "[B, 3 agents, 2]",
        "agent_level": "[B, 3 agents]",
        "food_position": "[B, 3 foods, 2]",
        "food_level": "[B, 3 foods]",
        "last_action": "[B, 3 agents]",
    }
    assert views["food_level"].meaning == "level of each food"


def test_what_never_changes_is_not_shown_and_what_is_unused_has_no_name() -> None:
    card = load_card("mpe/spread-3")
    assert list(state_views(card)) == [
        "agent_velocity", "agent_position", "agent_landmarks", "agent_others",
    ]  # fmt: skip
    assert not [name for name in all_views(card) if "messages" in name]
    football = load_card("football/pass-and-shoot")
    assert "agent_left_position_missing" not in state_views(football)
    assert all_views(football)["agent_left_position_missing"].shape == (3, 8, 2)


def test_every_slice_keeps_its_own_name() -> None:
    card = load_card("lbf/8x8-2p-2f-coop-2s")
    assert all_views(card)["agent1_position"].shape_text == "[B, 2]"
    assert columns(card, "agent1_position") == [3, 4]
    assert columns(card, "agent_position") == [0, 1, 3, 4]


@pytest.mark.parametrize("task", list_tasks())
def test_shown_views_hold_each_column_that_varies_once(task: str) -> None:
    card = load_listed(task)
    varying = [i for i, (low, high) in enumerate(card.column_intervals()) if low < high]
    assert sorted(at for name in state_views(card) for at in columns(card, name)) == varying


def test_a_field_that_one_thing_lacks_is_not_stacked() -> None:
    card = load_card("mpe/spread-3")
    kept = tuple(s for s in card.state if s.name != "agent1_velocity")
    views = state_views(card.model_copy(update={"state": kept}))
    assert "agent_velocity" not in views
    assert views["agent2_velocity"].shape_text == "[B, 2]"
