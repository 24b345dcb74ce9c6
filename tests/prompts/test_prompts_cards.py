"""Task cards: the shipped ones, families, and what a broken card is told."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from prompts.cards import (
    TASKS_DIR,
    CardError,
    StateSlice,
    TaskCard,
    UnknownTaskError,
    list_tasks,
    load_card,
)

CLIMBING = load_card("matrix/climbing")


def slice_(**changes: Any) -> StateSlice:
    base = {"name": "x", "shape": [2, 3], "meaning": "m", "kind": "real", "low": -1, "high": 2}
    return StateSlice.model_validate({**base, **changes})


def changed(**changes: Any) -> TaskCard:
    return TaskCard.model_validate({**CLIMBING.model_dump(mode="json"), **changes})


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_shipped_card_loads() -> None:
    names = list_tasks()
    assert "matrix/climbing" in names
    for name in names:
        card = load_card(name.replace("{k}", "7"))
        assert card.name == name.replace("{k}", "7")
        if card.start_state is not None:
            for value, (low, high) in zip(card.start_state, card.column_intervals(), strict=True):
                assert low <= value <= high


def test_the_climbing_game_is_the_published_one() -> None:
    assert CLIMBING.env.options["payoff"] == [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
    assert (CLIMBING.reward.low, CLIMBING.reward.high) == (-30, 11)
    assert CLIMBING.start_state == (-1, -1)


def test_the_climbing_game_of_three_is_the_sum_over_pairs_in_payoff_prose_and_range() -> None:
    card = load_card("matrix/climbing-3p")
    pair, payoff = CLIMBING.env.options["payoff"], card.env.options["payoff"]
    joint = list(itertools.product(range(3), repeat=3))
    for i, j, k in joint:
        assert payoff[i][j][k] == pair[i][j] + pair[i][k] + pair[j][k]
    rewards = [payoff[i][j][k] for i, j, k in joint]
    assert (card.reward.low, card.reward.high) == (min(rewards), max(rewards))
    for k, table in enumerate(card.prose.split("a2=")[1:]):
        numbers = [[int(x) for x in row.split()[1:]] for row in table.splitlines()[1:4]]
        assert numbers == [[payoff[i][j][k] for j in range(3)] for i in range(3)]


@pytest.mark.parametrize("k", [0, 25, 100])
def test_a_familys_parameter_reaches_payoff_prose_and_reward(k: int) -> None:
    card = load_card(f"matrix/penalty-{k}")
    payoff = card.env.options["payoff"]
    assert payoff[0][0] == payoff[2][2] == -k
    assert card.reward.low == -k
    assert f"penalty of {k}" in card.prose


@pytest.mark.parametrize("name", ["matrix/penalty-101", "matrix/penalty-007", "matrix/penalty--1"])
def test_a_parameter_outside_its_family_is_unknown(name: str) -> None:
    with pytest.raises(UnknownTaskError, match="did you mean"):
        load_card(name)


def test_a_familys_own_pattern_is_no_task() -> None:
    with pytest.raises(UnknownTaskError):
        load_card("matrix/penalty-{k}")


def test_an_unknown_task_names_the_near_ones() -> None:
    with pytest.raises(UnknownTaskError, match="matrix/climbing") as caught:
        load_card("matrix/climing")
    assert caught.value.near[0] == "matrix/climbing"
    with pytest.raises(UnknownTaskError, match="qllm tasks"):
        load_card("zzz")


def test_intervals_include_sentinels_and_unused_slices_are_zero() -> None:
    assert slice_().interval == (-1, 2)
    assert slice_(sentinels=[-5, 9], sentinel_meaning="gone").interval == (-5, 9)
    assert slice_(unused=True).interval == (0, 0)
    assert CLIMBING.column_intervals() == [(-1, 2), (-1, 2)]


def test_columns_have_places_and_names_in_row_major_order() -> None:
    first, second = CLIMBING.state[0].model_dump(), slice_(name="grid").model_dump()
    card = changed(state=[first, second], start_state=None)
    assert card.state_dim == 8
    assert [card.column_name(i) for i in (0, 1, 2, 4, 5, 7)] == [
        "last_action[0]",
        "last_action[1]",
        "grid[0,0]",
        "grid[0,2]",
        "grid[1,0]",
        "grid[1,2]",
    ]
    assert [(s.name, at) for s, at in card.offsets()] == [("last_action", 0), ("grid", 2)]
    for index in (-1, 8):
        with pytest.raises(IndexError):
            card.column(index)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": []}, "positive sizes"),
        ({"shape": [0]}, "positive sizes"),
        ({"low": 3}, "low 3 is above high 2"),
        ({"high": float("inf")}, "finite"),
        ({"low": "-1e999"}, "finite"),
        ({"high": 1e31}, r"1e\+31 is beyond 1e\+30"),
        ({"sentinels": [float("nan")], "sentinel_meaning": "gone"}, "finite"),
        ({"shape": [10**9, 10**9]}, "more than 100,000 columns"),
        ({"shape": [1] * 9}, "at most 8"),
        ({"kind": "integer", "low": 0.5}, "whole low and high"),
        ({"kind": "integer", "high": 1e20}, "whole low and high within 2"),
        ({"kind": "boolean"}, "within 0 and 1"),
        ({"meaning": "long" * 1000}, "at most 2000 characters"),
        ({"name": "x" * 1000}, "at most 100 characters"),
        ({"agent_axis": 2}, "not in its shape"),
        ({"sentinels": [-9]}, "sentinel_meaning"),
        ({"name": "Not a name"}, "pattern"),
        ({"kind": "float"}, "kind"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_slice_that_breaks_a_rule_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        slice_(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action_names": ["a"]}, "1 action_names for 3 actions"),
        ({"start_state": [0]}, "1 of 2 values"),
        ({"exchangeable": [[0, 2]]}, "agent that does not exist"),
        ({"n_agents": 3}, "agent axis is not 3 long"),
        (
            {"state": [slice_(name=f"s{i}", shape=[90_000]).model_dump() for i in (0, 1)]},
            "180,000 columns",
        ),
        ({"state": [slice_().model_dump()] * 2, "start_state": None}, "same name"),
        ({"state": [], "start_state": None}, "at least 1 item"),
        ({"start_state": [0, 3]}, r"last_action\[1\] is 3, and its slice says -1 to 2"),
        ({"start_state": [0, float("nan")]}, "finite"),
        ({"reward": {"low": 1, "high": 0, "meaning": "m"}}, "low 1 is above high 0"),
        ({"reward": {"low": 0, "high": float("nan"), "meaning": "m"}}, "finite"),
        ({"gamma": float("nan")}, "gamma"),
        ({"family": {"low": 1, "high": 0}}, "low 1 is above high 0"),
        ({"exchangeable": [[0, 0]]}, "names an agent twice"),
        ({"horizon": 10**7}, "less than or equal to 1000000"),
        ({"n_actions": 10**9}, "less than or equal to 4096"),
        ({"action_names": ["a", "b\nc", "d"]}, r"'b\\nc' has control characters"),
        ({"title": "\x1b[31m"}, r"'\\x1b\[31m' has control characters"),
        ({"title": "a\u2028b"}, "has control characters or line breaks"),
        ({"title": "x" * 201}, "at most 200 characters"),
        ({"prose": "x" * 100_001}, "at most 100000 characters"),
        ({"prose": "\ud800"}, "valid string"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        changed(**change)


def test_the_schema_hash_follows_the_schema_and_not_the_prose() -> None:
    same = changed(prose="other words", title="other", source="elsewhere")
    assert same.schema_hash() == CLIMBING.schema_hash()
    alike = {"exchangeable": [[0, 1]], "types": []}
    for change in ({"horizon": 24}, {"gamma": 0.9}, alike):
        assert changed(**change).schema_hash() != CLIMBING.schema_hash()


def test_the_q_bound_covers_the_discounted_sum_of_the_largest_reward() -> None:
    worst = sum(0.99**t * 30 for t in range(25))
    assert CLIMBING.q_bound() == 1024 > worst
    assert changed(gamma=1).q_bound() == 1024 > 25 * 30
    small = changed(reward={"low": 0, "high": 0.01, "meaning": "little"})
    assert small.q_bound() == 16


def test_the_q_bound_is_over_rewards_divided_by_their_scale() -> None:
    assert CLIMBING.in_unit(8).q_bound() == 1024 / 8
    assert CLIMBING.in_unit(8).scaled_reward() == (-30 / 8, 11 / 8)
    assert changed(reward={"low": -30, "high": 11, "meaning": "m"}).q_bound() == 1024
    # One of two foods was 153 standardised units at the beginning, and the bound 64.
    foraging = load_card("lbf/8x8-2p-2f-coop-2s")
    assert foraging.reward.scale is not None
    assert 0.5 / foraging.reward.scale < foraging.q_bound() / 50


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan"), 1e31])
def test_a_scale_is_a_positive_number(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        changed(reward={"low": 0, "high": 1, "meaning": "m", "scale": scale})


def test_a_card_may_be_a_file_of_the_users(tmp_path: Path) -> None:
    source = (TASKS_DIR / "matrix/climbing.yaml").read_text()
    card = load_card(str(write(tmp_path, "mine.yaml", source)))
    assert card.name == "mine"
    assert card.schema_hash() == CLIMBING.schema_hash()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: [", "mine.yaml"),
        ("- a list", "needs a mapping"),
        ("title: x", r"Field required \(and \d+ more\)"),
        ("\x00", "mine.yaml"),
        ("title: x\ngama: 1", "Field required"),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor"),
    ],
)
def test_a_broken_file_gives_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "mine.yaml", text)
    with pytest.raises(CardError, match=said) as caught:
        load_card(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(CardError, match="no card at"):
        load_card(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("gama: 0.9", r"gama: unknown entry; did you mean gamma"),
        ("qqqq: 0.9", r"qqqq: unknown entry; there are name, title, prose"),
        ("reward: {low: 0, hihg: 1, high: 1, meaning: m}", r"reward\.hihg: .*did you mean high"),
    ],
)
def test_an_unknown_entry_names_the_near_ones(tmp_path: Path, entry: str, said: str) -> None:
    lines = (TASKS_DIR / "matrix/climbing.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(entry.partition(":")[0] + ":")]
    path = write(tmp_path, "mine.yaml", "\n".join([*kept, entry]))
    with pytest.raises(CardError, match=said):
        load_card(str(path))
