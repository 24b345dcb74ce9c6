"""Families of cards: templates, repeated blocks, agents' own slices, and the shipped families."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompts.cards import CardError, StateSlice, TaskCard, list_tasks, load_card, load_listed

SHIPPED = {
    "lbf/8x8-2p-2f-coop-2s": (2, 14, 50),
    "lbf/10x10-3p-3f-2s": (3, 21, 50),
    "lbf/15x15-4p-3f-2s": (4, 25, 50),
    "mpe/spread-3": (3, 54, 25),
    "mpe/spread-6": (6, 216, 25),
    "mpe/tag": (3, 48, 25),
    "mpe/adversary": (2, 20, 25),
    "football/3-vs-1": (4, 460, 150),
    "football/pass-and-shoot": (3, 345, 150),
    "football/counterattack-easy": (4, 460, 150),
}

CARD: dict[str, Any] = {
    "title": "t",
    "prose": "p",
    "n_agents": 2,
    "n_actions": 1,
    "action_names": ["a"],
    "horizon": 2,
    "reward": {"low": 0, "high": 1, "meaning": "m"},
    "state": [],
    "env": {"kind": "none"},
}
REAL = {"kind": "real", "low": 0, "high": 1, "meaning": "of {i}"}


def card_of(folder: Path, state: list[Any], **more: Any) -> TaskCard:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**CARD, "state": state, **more}))
    return load_card(str(path))


# ---- the shipped families ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_has_the_documented_sizes(name: str) -> None:
    card = load_card(name)
    assert (card.n_agents, card.state_dim, card.horizon) == SHIPPED[name]
    assert card.gamma == 0.99
    assert card.source
    assert "\n\n\n" not in card.prose
    assert all(s.meaning and "{" not in s.meaning for s in card.state)


def test_every_listed_task_can_be_loaded_as_it_is_listed() -> None:
    for name in list_tasks():
        assert load_listed(name).state_dim > 0
    assert load_listed("matrix/penalty-{k}").name == "matrix/penalty-0"


@pytest.mark.parametrize(("name", "n"), [("mpe/spread-3", 3), ("mpe/spread-6", 6)])
def test_spread_is_laid_out_as_its_observations_are(name: str, n: int) -> None:
    card, width = load_card(name), 6 * n
    for i in range(n):
        ends = [0, 2, 4, 4 + 2 * n, 4 + 4 * n - 2, width]
        fields = ["velocity", "position", "landmarks", "others", "messages"]
        for field, (begin, end) in zip(fields, itertools.pairwise(ends), strict=True):
            assert card.by_agent()[field][i] == range(width * i + begin, width * i + end)
        for column in range(width * (i + 1) - 2 * (n - 1), width * (i + 1)):
            assert card.column(column)[0].unused
            assert card.column_intervals()[column] == (0, 0)
    assert card.column_name(width + 2) == "agent1_position[0]"
    assert card.column_name(width + 5) == "agent1_landmarks[0,1]"


def test_foraging_is_agents_then_foods_then_actions() -> None:
    card = load_card("lbf/10x10-3p-3f-2s")
    assert [card.column_name(i) for i in (0, 1, 2, 5, 9, 11, 17, 18, 20)] == [
        "agent0_position[0]",
        "agent0_position[1]",
        "agent0_level",
        "agent1_level",
        "food0_position[0]",
        "food0_level",
        "food2_level",
        "last_action[0]",
        "last_action[2]",
    ]
    assert card.column_intervals()[9:12] == [(-1, 8), (-1, 8), (0, 6)]
    assert card.column(0)[0].agent == 0
    assert card.column(9)[0].agent is None


def test_cooperative_food_is_as_strong_as_the_team() -> None:
    food = load_card("lbf/8x8-2p-2f-coop-2s").column(8)[0]
    assert (food.low, food.high, food.sentinels) == (2, 4, (0,))


def test_ranges_hold_whoever_pushes_one_way_from_the_edge_all_the_time() -> None:
    place, speed = 1.0, 0.0
    for _ in range(25):
        place, speed = place + 0.1 * speed, 0.75 * speed + 0.5
    for name in ("mpe/spread-3", "mpe/spread-6"):
        slices = {s.field: s for s in load_card(name).state if s.agent == 0}
        assert slices["velocity"].high > speed
        assert slices["position"].high > place
        assert slices["landmarks"].high > place + 1
        assert slices["others"].high > 2 * place
    slices = {s.field: s for s in load_card("mpe/adversary").state if s.agent == 0}
    assert place + 1 < slices["goal"].high < place + 1.01
    assert 2 * place < slices["others"].high < 2 * place + 0.01


# ---- renumbering agents --------------------------------------------------------------------------


def spread_state(place: list[float], velocity: list[float], landmarks: list[float]) -> list[float]:
    """A state of spread from one number for each thing; y is x + 100, to tell the axes apart."""
    state: list[float] = []
    n = len(place)
    for i in range(n):
        seen = [velocity[i], velocity[i] + 100, place[i], place[i] + 100]
        for there in landmarks:
            seen += [there - place[i], 100 + there - place[i]]
        for j in range(n):
            if j != i:
                seen += [place[j] - place[i], 100 + place[j] - place[i]]
        state += [*seen, *[0.0] * (2 * (n - 1))]
    return state


@pytest.mark.parametrize("n", [3, 6])
def test_swapped_columns_are_the_state_of_the_renumbered_team(n: int) -> None:
    card, rng = load_card(f"mpe/spread-{n}"), random.Random(0)
    place, velocity, landmarks = ([float(rng.randrange(50)) for _ in range(n)] for _ in range(3))
    state = spread_state(place, velocity, landmarks)
    for _ in range(10):
        order = rng.sample(range(n), n)
        swapped = [state[c] for c in card.swapped_columns(order)]
        again = spread_state([place[i] for i in order], [velocity[i] for i in order], landmarks)
        assert swapped == again


def test_swapped_columns_move_agent_axes_and_leave_the_rest() -> None:
    card = load_card("lbf/8x8-2p-2f-coop-2s")
    assert card.swapped_columns([1, 0]) == (3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11, 13, 12)
    assert card.swapped_columns([0, 1]) == tuple(range(14))


def test_what_cannot_be_swapped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no permutation"):
        load_card("mpe/tag").swapped_columns([0, 0, 1])
    card = card_of(tmp_path, [{**REAL, "name": "agent0_x", "shape": [1], "agent": 0}])
    assert card.by_agent() == {}
    with pytest.raises(ValueError, match="agent 1 has no 'x'"):
        card.swapped_columns([1, 0])


@pytest.mark.parametrize("name", [n for n in SHIPPED if load_card(n).exchangeable])
def test_exchangeable_agents_have_the_same_ranges(name: str) -> None:
    card = load_card(name)
    (group,) = card.exchangeable
    intervals = card.column_intervals()
    for order in itertools.islice(itertools.permutations(group), 30):
        assert [intervals[c] for c in card.swapped_columns(order)] == intervals


# ---- how cards are written -----------------------------------------------------------------------


def test_a_block_is_written_out_in_turns(tmp_path: Path) -> None:
    pair = [{**REAL, "name": "x", "shape": [2]}, {**REAL, "name": "y", "shape": [1]}]
    state = [{"for_each": "agent", "slices": pair}, {"for_each": "cup", "count": 2, "slices": pair}]
    card = card_of(tmp_path, state)
    assert [s.name for s in card.state] == [
        f"{thing}{i}_{field}" for thing in ("agent", "cup") for i in (0, 1) for field in "xy"
    ]
    assert [s.agent for s in card.state] == [0, 0, 1, 1, None, None, None, None]
    assert card.state[3].meaning == "of 1"
    assert card.state[0].field == "x"
    assert card.state[4].field == "cup0_x"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"for_each": "cup", "slices": []}, "needs a count from 1 to 256"),
        ({"for_each": "cup", "count": 0, "slices": []}, "needs a count"),
        ({"for_each": "cup", "count": True, "slices": []}, "needs a count"),
        ({"for_each": "cup", "count": 10**9, "slices": []}, "needs a count"),
        ({"for_each": "cup", "count": 256, "slices": [{"name": "x"}] * 99}, "more than 4,096 slic"),
        ({"for_each": "agent", "count": 3, "slices": []}, "its count is n_agents, 2"),
        ({"for_each": "A b", "count": 1, "slices": []}, "one lower-case word"),
        ({"for_each": "cup", "count": 1}, "list of slices"),
        ({"for_each": "cup", "count": 1, "slices": [{"shape": [1]}]}, "each with a name"),
        ({"for_each": "cup", "count": 1, "slices": [], "colour": 1}, "unknown entry 'colour'"),
    ],
)
def test_a_block_that_breaks_a_rule_is_refused(
    tmp_path: Path, block: dict[str, Any], said: str
) -> None:
    with pytest.raises(CardError, match=said):
        card_of(tmp_path, [block])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agent": 0}, "starts with 'agent0_'"),
        ({"name": "agent0_x", "agent": 0, "agent_axis": 0}, "either an agent or an agent_axis"),
        ({"others_axis": 0}, "others_axis needs an agent"),
        ({"name": "agent0_x", "agent": 0, "others_axis": 1}, "not in its shape"),
    ],
)
def test_an_agents_slice_that_breaks_a_rule_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StateSlice.model_validate({**REAL, "name": "x", "shape": [2], **change})


def test_an_agent_or_a_number_of_others_that_the_task_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no agent 2"):
        card_of(tmp_path, [{**REAL, "name": "agent2_x", "shape": [1], "agent": 2}])
    others = {**REAL, "name": "agent0_x", "shape": [2], "agent": 0, "others_axis": 0}
    with pytest.raises(CardError, match="others_axis is not 1 long"):
        card_of(tmp_path, [others])


def test_the_schema_hash_counts_agents_only_where_there_are_any(tmp_path: Path) -> None:
    plain = {**REAL, "name": "agent0_x", "shape": [1]}
    without = card_of(tmp_path, [plain])
    assert without.schema_hash() != card_of(tmp_path, [{**plain, "agent": 0}]).schema_hash()
    # Written before slices could have an agent; certificates of that time must stay valid.
    assert load_card("matrix/climbing").schema_hash().startswith("aa4fc120bb5f52c5")


def test_a_users_card_may_use_a_template_of_its_own_or_of_ours(tmp_path: Path) -> None:
    (tmp_path / "own.yaml.j2").write_text(
        yaml.safe_dump(
            {**CARD, "title": "{{ word }}", "state": [{**REAL, "name": "x", "shape": [1]}]}
        )
    )
    path = tmp_path / "mine.yaml"
    path.write_text("template: own\nwith: {word: hello}\n")
    assert load_card(str(path)).title == "hello"
    path.write_text("template: mpe/spread\nwith: {n: 4, random: -5, usual: -12}\n")
    assert load_card(str(path)).state_dim == 4 * 24


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("template: own\ntitle: x", "only 'template' and 'with', this one has 'title' too"),
        ("template: ../own", "needs the name of a template"),
        ("template: 3", "needs the name of a template"),
        ("template: other", "no template 'other'"),
        ("template: own\nwith: 3", "'with' needs a mapping"),
        ("template: own", "'word' is undefined"),
        ("template: own\nwith: {word: []}", "word must be a number, a word"),
    ],
)
def test_a_card_that_misuses_a_template_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "own.yaml.j2").write_text("title: {{ word | trim }}\n")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=said):
        load_card(str(path))


def test_a_template_cannot_reach_beyond_its_values(tmp_path: Path) -> None:
    (tmp_path / "own.yaml.j2").write_text("title: {{ ''.__class__.__mro__[1].__subclasses__() }}\n")
    path = tmp_path / "mine.yaml"
    path.write_text("template: own\n")
    with pytest.raises(CardError, match="'call' is not understood"):
        load_card(str(path))
