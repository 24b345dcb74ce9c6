"""Films: what is where in a picture, credit as long as it is large, files that play."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from marl.envs.kinds import ENVIRONMENTS
from marl.scenes.episode import Played
from marl.scenes.film import SCENES, frames, scene_of, write_gif, write_mp4
from marl.scenes.lbf import Foraging
from marl.scenes.matrix import Matrix
from marl.scenes.mpe import Particles
from marl.scenes.scene import AGAINST, AGENTS, CREDIT, GOOD
from marl.scenes.table import Table
from prompts.cards import EnvSpec, TaskCard, load_card

LBF = "lbf/8x8-2p-2f-coop-2s"


def played(task: str | TaskCard, states: list[dict[str, Any]], **more: Any) -> Played:
    """An episode through states that are given by the names of the card's slices, else 0."""
    card = load_card(task) if isinstance(task, str) else task
    rows = []
    for told in states:
        row = [0.0] * card.state_dim
        for s, at in card.offsets():
            if s.name in told:
                row[at : at + s.size] = told[s.name]
        rows.append(row)
    steps = len(states) - 1
    given: dict[str, Any] = {
        "actions": [[0] * card.n_agents] * steps,
        "rewards": [1.0] * steps,
        "weights": None,
    }
    return Played(card, "a title", rows, **{**given, **more})


def foraging(**more: Any) -> Played:
    here = {"agent0_position": (0, 0), "agent0_level": (1,), "agent1_position": (7, 3)}
    here |= {"agent1_level": (2,), "food0_position": (2, 5), "food0_level": (3,)}
    here |= {"food1_position": (-1, -1), "food1_level": (0,)}
    return played(LBF, [here, {**here, "food0_position": (-1, -1), "food0_level": (0,)}], **more)


def near(image: Image.Image, colour: str) -> list[tuple[int, int]]:
    """Pixels of a colour."""
    wanted = ImageColor.getrgb(colour)
    return [
        (at % image.width, at // image.width)
        for at, pixel in enumerate(image.convert("RGB").get_flattened_data())
        if pixel == wanted
    ]


def middle(pixels: list[tuple[int, int]]) -> tuple[float, float]:
    return sum(x for x, _ in pixels) / len(pixels), sum(y for _, y in pixels) / len(pixels)


def test_players_and_food_stand_in_their_cells_until_it_is_collected() -> None:
    episode = foraging()
    scene = scene_of(episode)
    assert isinstance(scene, Foraging)
    first, end = frames(scene)
    wide, head = (scene.size[0] - 24) / 8, 34
    picture = first.crop((0, 0, scene.size[0], first.height))
    for colour, row, column in ((AGENTS[0], 0, 0), (AGENTS[1], 7, 3), (GOOD, 2, 5)):
        x, y = middle(near(picture, colour))
        assert x == pytest.approx(12 + (column + 0.5) * wide, abs=2)
        assert y == pytest.approx(head + 12 + (row + 0.5) * wide, abs=2)
    assert near(first, GOOD)
    assert not near(end, GOOD)
    assert scene.who(0, 1) == "agent 1, level 2"


def test_a_bar_is_as_long_as_the_credit_and_of_another_colour_below_zero() -> None:
    episode = foraging(weights=[[0.5, -2.0]])
    lanes = next(frames(scene_of(episode))).crop((scene_of(episode).size[0], 34, 10_000, 34 + 80))
    lengths = []
    for colour in (CREDIT, AGAINST):
        pixels = near(lanes, colour)
        lengths.append(max(x for x, _ in pixels) - min(x for x, _ in pixels))
    assert lengths[1] == pytest.approx(4 * lengths[0], abs=3)
    strange = foraging(weights=[[math.nan, math.inf]])
    assert not near(next(frames(scene_of(strange))), CREDIT)


def test_without_credit_there_is_no_bar() -> None:
    for image in frames(scene_of(foraging())):
        assert not near(image, CREDIT)


def test_the_joint_action_is_marked_in_its_table() -> None:
    states = [{"storm": (1,)}, {"storm": (0,)}]
    scene = scene_of(played("matrix/climbing-weather", states, actions=[[2, 1]]))
    assert isinstance(scene, Matrix)
    first, end = frames(scene)
    x, y = middle(near(first, CREDIT))
    assert x == pytest.approx(58 + 1.5 * 62, abs=2)
    assert y == pytest.approx(34 + 22 + 44 + 2.5 * 40, abs=2)
    assert not near(end, CREDIT)


def test_what_never_moves_stands_still_where_only_agents_tell_of_it() -> None:
    """In adversary the state has no positions: the plane is made of what the agents see."""

    def seen(agent: tuple[float, float]) -> dict[str, tuple[float, ...]]:
        def to(x: float, y: float) -> tuple[float, float]:
            return x - agent[0], y - agent[1]

        marks = (*to(1, 1), *to(-1, 0))
        return {"goal": to(-1, 0), "landmarks": marks, "adversary": to(0.5, 0)}

    states = [
        {f"agent{i}_{k}": v for i, at in enumerate(places) for k, v in seen(at).items()}
        for places in (((0.0, 0.0), (1.0, 0.0)), ((0.2, -0.1), (0.5, 0.5)))
    ]
    scene = scene_of(played("mpe/adversary", states))
    assert isinstance(scene, Particles)
    assert scene.legend == "grey: landmarks, green: goal, red: adversary"
    images = [im.crop((0, 34, scene.size[0], im.height)) for im in frames(scene)]
    goals = [middle(near(image, GOOD)) for image in images]
    assert goals[0] == pytest.approx(goals[1], abs=1)
    right = [middle(near(images[0], colour))[0] for colour in AGENTS[:2]]
    assert right[0] < right[1], "agent 1 is to the right of agent 0"


@pytest.mark.parametrize("kind", ["chess", "lbf", "mpe", "football", "matrix"])
def test_what_no_scene_fits_is_a_table(kind: str) -> None:
    card = load_card("matrix/climbing").model_copy(update={"env": EnvSpec(kind=kind)})
    if kind == "matrix":
        names = tuple(map(str, range(11)))
        card = card.model_copy(update={"n_actions": 11, "action_names": names})
    scene = scene_of(played(card, [{}] * 31, weights=[[1.0, 2.0]] * 30))
    assert isinstance(scene, Table)
    assert len(list(frames(scene))) == 31


def test_every_kind_that_is_shipped_has_a_scene() -> None:
    # Those of PettingZoo are a user's own.
    assert set(SCENES) == {*ENVIRONMENTS.own} - {"pettingzoo"}


def test_a_gif_moves_at_the_scene_s_speed_and_lingers_at_the_end(tmp_path: Path) -> None:
    episode = foraging(weights=[[1.0, 0.5]])
    for name in ("a.gif", "b.gif"):
        write_gif(episode, tmp_path / name)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
        assert film.info["duration"] == 250
        film.seek(1)
        assert film.info["duration"] == 1500


def test_an_mp4_is_handed_to_ffmpeg_as_whole_frames(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/pixels\n')
    program.chmod(0o755)
    episode = foraging()
    write_mp4(episode, tmp_path / "a.mp4", str(program))
    first, end = frames(scene_of(episode))
    wide, high = first.size
    assert wide % 2 == high % 2 == 0, "as H.264 wants them"
    assert f"-s {wide}x{high} -r 20" in (tmp_path / "words").read_text()
    assert (tmp_path / "pixels").read_bytes() == first.tobytes() * 5 + end.tobytes() * 30
