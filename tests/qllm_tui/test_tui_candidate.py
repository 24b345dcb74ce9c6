"""The screen of a candidate: every key, the episode, what a model wrote, how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TabbedContent
from tui_driving import drive, seen, segments, settled, until
from tui_store import IDS

from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.store.store import open_store
from qllm.tui import episodes
from qllm.tui.app import QllmApp
from qllm.tui.episodes import AtWork, Playing
from qllm.tui.reading.search import CandidateQuery
from qllm.tui.screens import candidate as candidate_screen
from qllm.tui.screens.candidate import CandidateScreen, PropertiesTable
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.questions import AskScreen
from qllm.tui.widgets import candidate_text
from qllm.tui.widgets.episode import EpisodeView, marks, step_text

SIZES = [(120, 36), (80, 24), (60, 15)]
EPISODE = CreditEpisode(
    task="matrix/climbing",
    function="candidate 1",
    policy="the best of 512 episodes of random play",
    action_names=("a", "b", "c"),
    weights=(
        tuple(1.0 + 0.5 * (t % 3) for t in range(25)),
        tuple(1.0 - 0.2 * (t % 4) for t in range(25)),
    ),
    actions=(tuple(t % 3 for t in range(25)), tuple((t + 1) % 3 for t in range(25))),
    rewards=tuple(float(t) for t in range(25)),
    agent_qs=(tuple(20.0 - t for t in range(25)), tuple(20.0 - t for t in range(25))),
    linear_in_q=True,
    slices=(
        SliceTrace(
            name="last_action",
            title="last_action",
            subtitle="state",
            columns=("agent 0", "agent 1"),
            values=(
                (-1.0, *(float(t % 3) for t in range(24))),
                (-1.0, *(float((t + 1) % 3) for t in range(24))),
            ),
            influence=0.315,
        ),
    ),
    seed=0,
)


class Played:
    """In place of a process: what was worked out is there at once."""

    asked: list[bool] = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, home: object, id_: int, hash_: object, trained: bool, tell: Any) -> None:
        Played.asked.append(trained)
        self._trained, self._tell = trained, tell

    def start(self) -> None:
        policy = "greedy agents of run 2" if self._trained else EPISODE.policy
        self._tell(AtWork("weight of agent 0 = 1", replace(EPISODE, policy=policy)))

    def cancel(self) -> None:
        pass


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> type[Played]:
    Played.asked = []
    monkeypatch.setattr(candidate_screen, "Playing", Played)
    return Played


async def opened(app: QllmApp, pilot: Pilot[None], candidate_id: int) -> CandidateScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = CandidateScreen(candidate_id)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.view is not None)
    await pilot.pause()
    return screen


def tab(screen: CandidateScreen) -> str:
    return screen.query_one("#detail", TabbedContent).active


def test_what_failed_stands_first_with_its_counterexample(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.refused_candidate)
        await until(pilot, lambda: "counterexample" in seen(screen))
        words = seen(screen)
        assert "✗ violated" in words
        assert "rejected: monotone violated" in words
        assert "last_action[0]" in words, "in the names of the task's card"
        assert "◆ proved" in words
        await pilot.press("down", "down", "down")
        table = screen.query_one(PropertiesTable)
        await until(pilot, lambda: table.key == 3)
        await pilot.press("end")
        await until(pilot, lambda: table.key == table.count - 1)
        await pilot.press("home")
        await until(pilot, lambda: table.key == 0)

    drive(home, steps)


def test_every_tab_has_a_key(home: Path, played: type[Played]) -> None:
    expected = {
        "1": "monotone",
        "2": "weight of agent 0 = 1",
        "3": "1 def tfcaf(state):",
        "4": "step 1 of 25",
        "5": "without a remark",
        "6": "Credit should lean",
    }

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.accepted_candidate)

        def shown(words: str) -> Callable[[], bool]:
            return lambda: words in seen(screen)

        for key in ("2", "4", "3", "6", "5", "1"):
            await pilot.press(key)
            await until(pilot, shown(expected[key]))

    drive(home, steps)
    assert played.asked == [True], "it is worked out once"


def test_an_episode_is_stepped_through(home: Path, played: type[Played]) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("4")
        view = screen.query_one(EpisodeView)
        await until(pilot, lambda: view.episode is not None)
        for key, at in [
            ("right", 1),
            ("shift+right", 11),
            ("left", 10),
            ("shift+left", 0),
            ("left", 0),
            ("end", 24),
            ("home", 0),
        ]:
            await pilot.press(key)
            await pilot.pause()
            assert view.at == at, key
        await pilot.press("right")
        await until(pilot, lambda: "step 2 of 25" in seen(screen))
        assert "greedy agents" in seen(screen)
        await pilot.press("g")
        await until(pilot, lambda: "random play" in seen(screen))
        assert played.asked == [True, False]

    drive(home, steps)


def test_a_step_tells_actions_weights_reward_and_state() -> None:
    words = step_text(EPISODE, 2).plain
    assert "step 3 of 25   reward 2.00" in words
    assert "return so far 3.00 of 300.0" in words
    assert [line.split()[:3] for line in words.splitlines()[4:6]] == [
        ["0", "c", "2.00"],
        ["1", "a", "0.600"],
    ]
    assert "state last_action" in words
    assert "agent 0            1 ◂" in words, "what changed is marked"


def test_what_the_sandbox_refused_is_not_run(home: Path, played: type[Played]) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.refused_candidate)
        await pilot.press("4")
        await until(pilot, lambda: "what is rejected is never run" in seen(screen))
        await pilot.press("g")
        await pilot.pause()

    drive(home, steps)
    assert played.asked == []


def test_training_with_it_shows_and_starts_the_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[tuple[str, ...], Path]] = []

    class Job:
        pid = 7

    def start(words: tuple[str, ...], where: Path) -> Job:
        started.append((words, where))
        return Job()

    monkeypatch.setattr("qllm.tui.control.start_job", start)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        assert "--tfcaf 1" in seen(app.screen)
        assert app.clipboard.startswith("qllm train matrix/climbing --algo qllm --tfcaf 1")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert not started
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        await pilot.press("y")
        await until(pilot, lambda: len(started) == 1)

    drive(home, steps)
    assert started == [(("train", "matrix/climbing", "--algo", "qllm", "--tfcaf", "1"), home)]


def test_the_key_for_a_new_job_means_that_here_too(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))

    drive(home, steps)


def test_what_is_copied_trains_with_it_or_is_the_source(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("ctrl+y")
        assert app.clipboard.startswith("qllm train matrix/climbing --algo qllm --tfcaf 1")
        screen = await opened(app, pilot, IDS.refused_candidate)
        assert "t" not in {b.binding.key for b in screen.active_bindings.values() if b.enabled}
        await pilot.press("ctrl+y")
        assert app.clipboard.startswith("def tfcaf(")

    drive(home, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_counterexample_is_in_sight_at_once(home: Path, size: tuple[int, int]) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.refused_candidate)
        assert tab(screen) == "properties"
        await until(pilot, lambda: "counterexample" in seen(screen))
        assert "last_action[0]" in seen(screen)

    drive(home, steps, size=size)


def test_what_could_not_be_read_has_no_mathematics_and_says_so(
    home: Path, played: type[Played]
) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.hostile_candidate)
        assert tab(screen) == "feedback"
        await pilot.press("2")
        await until(pilot, lambda: "before a function could be read" in seen(screen))
        assert "policy.import" in seen(screen)

    drive(home, steps)
    assert played.asked == []


def test_agents_are_told_apart_without_colours(home: Path, played: type[Played]) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("4")
        await until(pilot, lambda: "digits on the lines" in seen(screen))
        plot = screen.query_one("#weights")
        lines = seen(screen).splitlines()[plot.region.y : plot.region.y + plot.region.height - 3]
        inside = "".join(line[10 : plot.region.width - 2] for line in lines)
        assert inside.count("0") >= 2
        assert inside.count("1") >= 2

    drive(home, steps)


def test_marks_of_two_agents_never_stand_at_the_same_step() -> None:
    for agents, steps in [(2, 25), (8, 25), (3, 500), (5, 2)]:
        places = [at for own in marks(agents, steps, 60) for at in own]
        assert len(places) == len(set(places)) or steps < agents
        assert all(0 <= at < steps for at in places)
        assert all(marks(agents, steps, 60))


def test_bounds_are_words_and_only_where_something_is_proved(home: Path) -> None:
    with open_store(home, readonly=True) as store:
        view = CandidateQuery(IDS.accepted_candidate).read(store, {})
    for bounds, words in [
        ((None, None), "no proved bounds"),
        ((0.0, None), "at least 0"),
        ((0.5, 2.0), "0.5 to 2"),
    ]:
        check = view.row.check.model_copy(update={"weight_bounds": [bounds, bounds]})
        row = replace(view.row, check=check)
        text = candidate_text.certificate(replace(view, row=row)).plain
        assert f"every agent: {words}" in text
        assert "∞" not in text


def test_keys_scroll_and_copy(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.accepted_candidate)
        await pilot.press("c")
        assert app.clipboard.startswith("def tfcaf(state):")
        await pilot.press("6")
        pane = screen.query_one("#reply").children[0]
        await until(pilot, lambda: pane.max_scroll_y > 0)
        await pilot.press("j")
        await until(pilot, lambda: pane.scroll_offset.y > 0)
        await pilot.press("k")
        await until(pilot, lambda: pane.scroll_offset.y == 0)

    drive(home, steps, size=(60, 15))


def test_what_a_model_wrote_acts_on_nothing(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.hostile_candidate)
        await until(pilot, lambda: tab(screen) == "feedback")
        for key in "356":
            await pilot.press(key)
            await pilot.pause()
            for segment in segments(screen):
                assert not set(segment.text) & {"\x1b", "\x07", "\u202e", "\u200b"}
                assert segment.style is None or segment.style.link is None
                meta = segment.style.meta if segment.style is not None else {}
                assert "quit" not in str(meta.get("@click", ""))
        await until(pilot, lambda: "[bold red]ACCEPTED[/bold red]" in seen(screen))

    drive(home, steps)


def test_a_candidate_that_is_not_there_is_said_in_a_line(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        screen = CandidateScreen(999)
        await app.push_screen(screen)
        await until(pilot, lambda: "no candidate 999" in seen(screen))

    drive(home, steps)


def test_a_process_works_out_mathematics_and_an_episode_once(home: Path) -> None:
    told: list[AtWork] = []
    episodes._known.clear()
    one = Playing(home, IDS.accepted_candidate, "h", False, told.append)
    one._work()
    assert told[0].mathematics is not None
    assert "weight of agent 0" in told[0].mathematics
    assert told[0].episode is None
    episode = told[-1].episode
    assert episode is not None
    assert (len(episode.weights), episode.steps) == (2, 25)
    again: list[AtWork] = []
    Playing(home, IDS.accepted_candidate, "h", False, again.append).start()
    assert again == [told[-1]], "known at once"


LOOKS = [*(("credit", size) for size in SIZES), ("refused", (80, 24))]


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize(
    ("name", "size"), LOOKS, ids=[f"{name}-{size[0]}x{size[1]}" for name, size in LOOKS]
)
def test_how_it_looks(home: Path, snap_compare: Any, size: tuple[int, int], name: str) -> None:
    app = QllmApp(home)
    app.animation_level = "none"

    async def before(pilot: Pilot[None]) -> None:
        refused = name == "refused"
        screen = await opened(
            app, pilot, IDS.refused_candidate if refused else IDS.accepted_candidate
        )
        if refused:
            await until(pilot, lambda: "counterexample" in seen(screen))
        else:
            await pilot.press("4")
            await until(pilot, lambda: "step 1 of 25" in seen(screen))
            await pilot.press("right", "right")
            await until(pilot, lambda: "step 3 of 25" in seen(screen))
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
