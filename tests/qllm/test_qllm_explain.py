"""``qllm explain``: weights that are derivatives, pictures of every kind of task, plain errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.demonstration import Actors, random_actors
from marl.envs.kinds import ENVIRONMENTS
from marl.settings.env import EnvConfig, PettingZooEnvConfig
from marl.settings.train import TrainConfig
from marl.trained import Trained
from prompts.cards import TaskCard, load_card
from qllm.cli.main import run
from qllm.jobs.explain import demonstration, explain_episode
from qllm.report.credit_picture import action_glyphs, credit_svg, draw_credit, words
from qllm.report.episode import CreditEpisode, SliceTrace
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.graph import CreditGraph
from tests.sandbox.sandbox_functions import LEADER

pytestmark = pytest.mark.long

sys.path.append(str(Path(__file__).parents[1] / "marl"))

PNG = b"\x89PNG\r\n\x1a\n"


def general(card: TaskCard) -> str:
    """A function for any task: each agent's weight follows a state column of its own."""
    columns = [i % card.state_dim for i in range(card.n_agents)]
    parts = ", ".join(f"1.0 + torch.sigmoid(state[:, {c}])" for c in columns)
    return (
        "def tfcaf(state):\n"
        f"    weights = torch.stack([{parts}], dim=1)\n"
        "    return weights, 0.01 * state[:, 0:1]\n"
    )


def graph_of(box: Sandbox, source: str, card: TaskCard, **gate: Any) -> CreditGraph:
    """The gated graph of a source that the sandbox accepts."""
    report = box.check(source, card, GateConfig(**gate), ())
    assert report.graph is not None, report.feedback
    return report.graph


def test_the_weights_of_an_episode_are_those_of_its_states_and_values(
    warm_sandbox: Sandbox,
) -> None:
    card = load_card("matrix/climbing")
    graph = graph_of(warm_sandbox, LEADER, card)
    policy = random_actors(card, EnvConfig())
    episode = explain_episode(
        graph, card, policy, warm_sandbox, function="f", linear_in_q=True, seed=5
    )
    played = demonstration(card, policy, 5)
    assert episode.steps == card.horizon
    assert episode.actions == tuple(tuple(row) for row in played.actions.T.tolist())
    # The state is the joint action before; the second one raises the first agent's weight.
    first, *rest = played.states[:, 1].tolist()
    assert first == -1
    assert rest == [float(a) for a in episode.actions[1][:-1]]
    expected = [1 + 0.5 * torch.tanh(torch.tensor(x)).item() for x in (first, *rest)]
    assert episode.weights[0] == pytest.approx(expected)
    assert episode.weights[1] == pytest.approx([0.8] * card.horizon)


def _toy() -> tuple[TaskCard, EnvConfig]:
    pytest.importorskip("pettingzoo")
    from marl_pettingzoo_batches import card
    from marl_pettingzoo_toys import FILE

    return card(8), PettingZooEnvConfig(factory=f"{FILE}:Toy", workers=1)


TASKS = {
    "matrix": "matrix/climbing-3p",
    "lbf": "lbf/8x8-2p-2f-coop-2s",
    "mpe": "mpe/spread-3",
    "pettingzoo": "",
}


def test_every_playable_kind_of_task_is_pictured_below() -> None:
    assert {*TASKS, "football"} == {*ENVIRONMENTS}  # football's needs its engine


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_a_picture_is_made_of_every_kind_of_task(
    kind: str, warm_sandbox: Sandbox, tmp_path: Path
) -> None:
    card, env = _toy() if kind == "pettingzoo" else (load_card(TASKS[kind]), EnvConfig())
    graph = graph_of(warm_sandbox, general(card), card)
    policy = random_actors(card, env)
    episode = explain_episode(graph, card, policy, warm_sandbox, function="f.py", linear_in_q=True)
    assert len(episode.weights) == len(episode.actions) == card.n_agents
    assert {len(row) for row in (*episode.weights, *episode.actions)} == {episode.steps}
    assert 1 <= episode.steps <= card.horizon
    assert episode.slices
    path = tmp_path / "credit.png"
    draw_credit(episode, path)
    data = path.read_bytes()
    assert data.startswith(PNG)
    assert len(data) > 20_000
    if kind == "matrix":
        draw_credit(episode, path)
        assert path.read_bytes() == data
        svg = str(credit_svg(episode))
        assert svg == str(credit_svg(episode))
        assert 'aria-label="Credit weights along an episode' in svg
        assert "style=" not in svg
        assert "<script" not in svg
    # Every sign in the picture is explained.
    text = " ".join(words(episode))
    glyphs = action_glyphs(card.action_names)
    for glyph, name in zip(glyphs, card.action_names, strict=True):
        assert glyph == name or f"{glyph} {name}" in text


def test_signs_of_actions_are_arrows_letters_or_numbers() -> None:
    lbf = ("none", "north", "south", "west", "east", "load")
    assert action_glyphs(lbf) == ("·", "↑", "↓", "←", "→", "L")
    assert action_glyphs(("a", "b", "c")) == ("a", "b", "c")
    assert action_glyphs(("shot", "sprint", "idle")) == ("0", "1", "·")
    assert action_glyphs(("left", "west")) == ("0", "1")  # never the same sign for two


def test_what_is_too_large_to_draw_is_cut_and_said(tmp_path: Path) -> None:
    agents, steps = 20, 150
    row = tuple(float(t % 7) for t in range(steps))
    episode = CreditEpisode(
        task="t",
        function="f\x1b[31m$x_2$",
        policy="random play",
        action_names=("left", "right"),
        weights=(row,) * agents,
        actions=((1,) * steps,) * agents,
        rewards=(0.0,) * steps,
        agent_qs=(row,) * agents,
        linear_in_q=False,
        slices=(SliceTrace("s", "s", "state", ("[0]",), (row,), 1.0, left_out=3),),
        seed=0,
    )
    said = " ".join(words(episode))
    assert "first 100 of 150 steps and 16 of 20 agents" in said
    assert "also depend on the agents' Qs" in said
    draw_credit(episode, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


@pytest.fixture
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _warm: None) -> None:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


QUICK = ["sandbox.examples=10"]


@pytest.mark.usefixtures("_places")
def test_a_source_is_explained_in_words_numbers_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(LEADER)
    words_ = ["explain", "f.py", "--task", "matrix/climbing", *QUICK]
    assert run(words_) == 0
    out = capsys.readouterr().out
    assert "weight of agent 0 = " in out
    assert "last_action[1]" in out
    assert "IGM: by-gate" in out
    assert "linear in the agents' Qs" in out
    assert "proved weights: agent 0" in out
    picture = Path(out.strip().rpartition("picture: ")[2])
    assert picture.read_bytes().startswith(PNG)
    assert run([*words_, "--out", "deep/p.png", "--seed", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["picture"] == "deep/p.png"
    assert found["igm"] == "by-gate"
    assert len(found["episode"]["weights"]) == 2
    assert len(found["episode"]["weights"][0]) == len(found["episode"]["rewards"]) == 25
    assert found["episode"]["slices"][0]["name"] == "last_action"
    assert {p["name"] for p in found["properties"]} >= {"finite", "monotone"}


@pytest.mark.usefixtures("_places")
def test_a_trained_run_acts_greedily_and_its_certificate_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(LEADER)
    quick = ["--steps", "400", "evaluation.every=400", "evaluation.episodes=1"]
    train = ["train", "matrix/climbing", "--algo", "qllm", "--tfcaf", "f.py", "--display", "none"]
    assert run([*train, *quick, *QUICK]) == 0
    certificate = next((tmp_path / "home").rglob("credit.tfcaf.json"))
    capsys.readouterr()
    explain = ["explain", str(certificate), "--task", "matrix/climbing", *QUICK]
    assert run([*explain, "--run", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    episode = found["episode"]
    assert "greedy qllm agents" in episode["policy"]
    assert found["igm"] == "by-gate"
    # The game has no luck in it, so the trained agents earn what the last evaluation recorded.
    assert run(["runs", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sum(episode["rewards"]) == pytest.approx(rows[0]["return_mean"])
    assert episode["agent_qs"][0][0] != episode["agent_qs"][0][1]
    report = tmp_path / "home" / "1" / "report.html"
    assert run(["report", "1"]) == 0
    html = report.read_text()
    assert '<section id="at-work">' in html
    assert "greedy qllm agents" in html


@pytest.mark.usefixtures("_places")
def test_a_task_that_cannot_be_played_is_explained_without_an_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QLLM_FOOTBALL_PYTHON", "/nowhere")
    card = load_card("football/pass-and-shoot")
    (tmp_path / "f.py").write_text(general(card))
    words_ = ["explain", "f.py", "--task", card.name, *QUICK]
    assert run(words_) == 0
    out = capsys.readouterr().out
    assert "weight of agent 2" in out
    assert "so no episode was played" in out
    assert run([*words_, "--out", "x.png"]) == 2
    assert "cannot be played" in capsys.readouterr().err


@pytest.mark.usefixtures("_places")
@pytest.mark.parametrize(
    ("words_", "code", "said"),
    [
        (["none.py"], 2, "no such file"),
        (["7"], 2, "no run store"),
        (["f.py", "--out", "p.pdf"], 2, "must end in .png"),
        (["f.py", "--run", "3"], 2, "no run store"),
        (["f.py", "--task", "matrix/climing"], 2, "did you mean matrix/climbing"),
        (["bad.py"], 1, "bad.py was rejected (policy"),
        (["f.py", "--out", "f.py/p.png"], 1, "cannot be written"),
        (["f.py", "--sed", "1"], 2, "--seed"),
    ],
)
def test_bad_input_is_one_clear_line(
    words_: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(LEADER)
    (tmp_path / "bad.py").write_text("def tfcaf(state):\n    while True:\n        pass\n")
    task = [] if "--task" in words_ else ["--task", "matrix/climbing"]
    assert run(["explain", *words_, *task, *QUICK]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "--tfcaf" not in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("_places")
def test_a_run_of_another_task_cannot_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(LEADER)
    quick = ["--steps", "200", "evaluation.every=200", "evaluation.episodes=1"]
    train = ["train", "matrix/penalty-25", "--algo", "vdn", "--display", "none"]
    assert run([*train, *quick]) == 0
    capsys.readouterr()
    words_ = ["explain", "f.py", "--task", "matrix/climbing", *QUICK, "--run"]
    assert run([*words_, "1"]) == 2
    assert "task 'matrix/penalty-25'" in capsys.readouterr().err
    assert run([*words_, "99"]) == 2
    assert "no run 99" in capsys.readouterr().err


def test_agents_that_do_not_fit_are_refused() -> None:
    from qllm.errors import UsageError

    card = load_card("matrix/climbing")
    trained = Trained(card, TrainConfig(), 0, None, 0, {"agent.head.bias": torch.zeros(5)})
    policy = Actors("agents", EnvConfig(), trained)
    with pytest.raises(UsageError, match="agents: the agents do not fit"):
        demonstration(card, policy, 0)
