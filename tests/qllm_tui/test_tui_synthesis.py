"""The screen of a search: every key, what streams, what a model wrote, how it looks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from sqlalchemy import select, update
from textual.pilot import Pilot
from textual.widgets import Input, Static, TabbedContent
from textual.widgets._toast import Toast
from tui_driving import drive, seen, segments, settled, until
from tui_store import IDS, NOW

from qllm.display import Display
from qllm.jobs.search_recorder import SynthesisRecorder
from qllm.store.schema import Candidate, ChatMessage, Command, Run, Verdict
from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.reading.search import SynthesisQuery
from qllm.tui.screens.candidate import CandidateScreen
from qllm.tui.screens.questions import AnswerScreen, AskScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.synthesis import SynthesisScreen
from qllm.tui.widgets import search_head
from qllm.tui.widgets.candidates import CandidatesTable
from qllm.tui.widgets.conversation import Conversation
from synth.events import PilotStarted

SIZES = [(120, 36), (80, 24), (60, 15)]


async def opened(app: QllmApp, pilot: Pilot[None], run_id: int) -> SynthesisScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = SynthesisScreen(run_id)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.view is not None)
    await pilot.pause()
    return screen


async def at(pilot: Pilot[None], screen: SynthesisScreen, key: tuple[int, int, int]) -> None:
    """Put the cursor on a row, as a click would."""
    table = screen.query_one(CandidatesTable)
    table.action_jump(table.places.index(key))
    await until(pilot, lambda: table.chosen == key)
    await pilot.pause()


def sent(home: Path) -> list[tuple[str, Any]]:
    with open_store(home, readonly=True) as store, store.database.read() as session:
        rows = session.scalars(select(Command).order_by(Command.id))
        return [(row.name, row.payload) for row in rows]


def tab(screen: SynthesisScreen) -> str:
    return screen.query_one("#detail", TabbedContent).active


def test_it_opens_on_what_happens_and_shows_the_reply_grow(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        await at(pilot, screen, (0, 1, 1))
        assert "▌" in seen(screen)
        assert "writing…" in seen(screen)
        boxes = list(screen.query_one(Conversation).query(".turn"))
        with open_store(home) as store, store.database.write() as session:
            row = session.scalars(select(ChatMessage).where(ChatMessage.streaming)).one()
            row.content += " and then it said more"
            row.created += 1
        await until(pilot, lambda: "and then it said more" in seen(screen))
        assert list(screen.query_one(Conversation).query(".turn")) == boxes

    drive(home, steps)


def test_the_cursor_stays_on_its_row_when_others_come_before_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        await pilot.press("down", "down")
        table = screen.query_one(CandidatesTable)
        await until(pilot, lambda: table.chosen == (0, 1, 1))
        with open_store(home) as store:
            report = {"verdict": "rejected", "stage": "policy", "rule": "policy.while"}
            store.synthesis.record_candidate(IDS.waiting, 1, (0, 0, 1), source="x", report=report)
        await until(pilot, lambda: table.count == 5)
        await pilot.pause()
        assert table.places == ((0, -1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1))
        assert table.chosen == (0, 1, 1)

    drive(home, steps)


@pytest.mark.parametrize("key", ["a", "x"])
def test_a_proposal_is_answered_with_advice(home: Path, key: str) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        assert screen.query_one("#waiting").display
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        assert "Lean on agreement." in seen(app.screen)
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"lean on b", "enter")
        await until(pilot, lambda: len(sent(home)) == 1)

    drive(home, steps)
    command = {"a": "approve", "x": "reject"}[key]
    assert sent(home) == [(command, {"advice": "lean on b"})]


def test_another_function_of_the_round_can_be_approved(home: Path) -> None:
    with open_store(home) as store:
        report = {"verdict": "accepted", "stage": "done", "graph_hash": "f" * 64}
        other = store.synthesis.record_candidate(
            IDS.waiting, 1, (0, 2, 0), source="x", report=report
        )

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        await at(pilot, screen, (0, 2, 0))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        await until(pilot, lambda: "1.3 instead of 1.1" in seen(app.screen))
        await pilot.press("enter")
        await until(pilot, lambda: len(sent(home)) == 1)

    drive(home, steps)
    assert sent(home) == [("approve", {"candidate": other})]


def test_what_is_told_covers_the_title_alone(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        app.notify("the source of 1.1 is copied")
        await until(pilot, lambda: any(t.region.height for t in app.screen.query(Toast)))
        assert all(toast.region.bottom <= 1 for toast in screen.query(Toast))

    drive(home, steps, size=(80, 24), toasts=True)


def test_enter_opens_something_on_every_row(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        assert screen.view is not None
        for place in screen.query_one(CandidatesTable).places:
            await at(pilot, screen, place)
            await pilot.press("4", "enter")
            await until(
                pilot,
                lambda: (
                    isinstance(app.screen, CandidateScreen)
                    or screen.query_one("#detail", TabbedContent).active == "conversation"
                ),
            )
            if isinstance(app.screen, CandidateScreen):
                await pilot.press("escape")
                await until(pilot, lambda: app.screen is screen)

    drive(home, steps)


def test_an_answer_can_be_left_open(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)

    drive(home, steps)
    assert sent(home) == []


def test_a_job_is_paused_and_asked_to_stop(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        await pilot.press("p")
        await until(pilot, lambda: len(sent(home)) == 1)
        await pilot.press("t")
        await until(pilot, lambda: len(sent(home)) == 2)
        await until(pilot, lambda: "stops after this round" in seen(screen))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        await pilot.press("y")
        await until(pilot, lambda: len(sent(home)) == 3)

    drive(home, steps)
    assert [name for name, _ in sent(home)] == ["pause", "stop-after-round", "stop"]


def test_a_search_that_has_ended_offers_nothing_that_needs_its_job(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        offered = {b.binding.key for b in screen.active_bindings.values() if b.enabled}
        assert not offered & {"a", "x", "p", "t", "s"}
        assert {"d", "z", "enter"} <= offered
        await pilot.press("a", "p", "t")
        await pilot.pause()

    drive(home, steps)
    assert sent(home) == []


def test_every_tab_has_a_key_and_speaks_of_the_row(home: Path) -> None:
    expected = {
        "1": "press me",
        "2": "1 def tfcaf(state):",
        "3": "import os",
        "4": "Press d on a candidate",
        "5": "judged by",
        "6": "enforce  q_tot may not fall",
        "7": "accepted so far",
    }

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await at(pilot, screen, (1, 0, 0))

        def shown(words: str) -> Callable[[], bool]:
            return lambda: words in seen(screen)

        for key, words in expected.items():
            await pilot.press(key)
            await until(pilot, shown(words))

    drive(home, steps)


def test_two_marked_candidates_are_compared(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await at(pilot, screen, (0, 1, 0))
        await pilot.press("d")
        await at(pilot, screen, (0, 1, 1))
        await pilot.press("d")
        await until(pilot, lambda: tab(screen) == "diff")
        await until(pilot, lambda: "+++ 1.2.1" in seen(screen))
        assert "--- 1.2" in seen(screen)
        assert "1.2 Δ" in seen(screen)
        await at(pilot, screen, (0, 0, 0))
        assert "+++ 1.2.1" in seen(screen), "the pair is kept when the cursor moves on"
        await pilot.press("d")
        await until(pilot, lambda: "Press d on a candidate" in seen(screen))

    drive(home, steps)


def test_a_correction_is_compared_with_what_it_corrects(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await at(pilot, screen, (0, 1, 1))
        await pilot.press("4")
        await until(pilot, lambda: "+++ 1.2.1" in seen(screen))

    drive(home, steps)


def test_keys_zoom_scroll_copy_follow_and_open(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        table = screen.query_one(CandidatesTable)
        await until(pilot, lambda: table.chosen == (0, 0, 0))
        await pilot.press("z")
        await until(pilot, lambda: table.size.height <= 1)
        await pilot.press("z")
        await until(pilot, lambda: table.size.height > 1)
        await at(pilot, screen, (1, 1, 0))
        await pilot.press("c")
        assert app.clipboard.startswith("def tfcaf(state):")
        await pilot.press("l")
        await until(pilot, lambda: table.chosen == (0, 0, 0))
        talk = screen.query_one(Conversation)
        await pilot.press("j")
        await until(pilot, lambda: talk.scroll_offset.y > 0)
        await pilot.press("k")
        await until(pilot, lambda: talk.scroll_offset.y == 0)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CandidateScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)

    drive(home, steps, size=(80, 24))


def training(home: Path, status: str = "running") -> None:
    """Let the finished run be one that has only come to its trainings."""
    with open_store(home) as store, store.database.write() as session:
        run = session.get_one(Run, IDS.pipeline)
        run.status, run.ended, run.beat = status, None, NOW


def offered(screen: SynthesisScreen) -> dict[str, str]:
    found = screen.active_bindings.values()
    return {b.binding.key: b.binding.description for b in found if b.enabled}


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_search_has_its_own_end_while_its_run_trains(home: Path, status: str) -> None:
    training(home, status)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        assert "✓ search finished 1m 24s" in seen(screen), "and not the time of the run so far"
        told = "the run trains now" if status == "running" else "the run is paused"
        assert f"· {told}  (r shows it)" in seen(screen)
        assert "round 2 of 2" not in seen(screen).splitlines()[1]
        keys = offered(screen)
        assert not {"t", "a", "x"} & set(keys)
        assert keys["s"] == "stop run"
        assert keys["p"] == ("pause run" if status == "running" else "go on")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        assert "this stops its trainings" in seen(app.screen)
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("p")
        await until(pilot, lambda: len(sent(home)) == 1)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, lambda: "curves" in seen(app.screen))

    drive(home, steps)
    assert sent(home) == [("pause" if status == "running" else "resume", None)]


def test_the_run_below_is_gone_back_to(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        run = RunScreen(IDS.pipeline)
        await app.push_screen(run)
        await until(pilot, lambda: "curves" in seen(run))
        await opened(app, pilot, IDS.pipeline)
        await pilot.press("r")
        await until(pilot, lambda: app.screen is run)

    drive(home, steps)


def test_the_last_round_offers_no_end_after_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        assert {"t", "s", "p", "a", "x"} <= set(offered(screen))
        with open_store(home) as store:
            store.synthesis.begin_round(IDS.waiting, 1, 1)
        await until(pilot, lambda: "t" not in offered(screen))

    drive(home, steps)


def undecided(home: Path, plain: float) -> None:
    """Let all pilots of the finished search come to the same return, but for the plain sum."""
    with open_store(home) as store, store.database.write() as session:
        for row in session.scalars(select(Verdict).where(Verdict.kind == "pilot")):
            value = 125.0 if row.reason["graph_hash"] else plain
            finals = [value - 1, value, value + 1 + (row.candidate_id or 0)]
            row.reason = {**row.reason, "finals": finals, "final_mean": value}
        for row in session.scalars(select(Verdict).where(Verdict.kind == "selection")):
            row.reason = {**row.reason, "decided": False}


def test_an_undecided_choice_looks_like_no_finding(home: Path) -> None:
    undecided(home, 125.0)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await pilot.press("5")
        judged = screen.query_one("#evaluator-text", Static)
        told = "the pilots do not tell 1.1 from 1.2.1, 2.2, the plain sum (VDN)"
        await until(pilot, lambda: told in str(judged.content))
        words = " ".join(seen(screen).split())
        assert "! undecided: 3 not told apart" in words
        assert "≈ not told from 1.1" in words
        assert "taken (undecided) 1.1" in words
        assert "selected" not in words

    drive(home, steps)


def test_a_decided_choice_is_called_selected(home: Path) -> None:
    with open_store(home, readonly=True) as store:
        view = SynthesisQuery(IDS.pipeline).read(store, {})
    assert view.standing is not None
    assert (view.standing.close, view.standing.decided) == ((), True)
    assert search_head.undecided(view).plain == ""
    undecided(home, 90.0)
    with open_store(home, readonly=True) as store:
        view = SynthesisQuery(IDS.pipeline).read(store, {})
    assert search_head.undecided(view).plain == "! undecided: 2 not told apart"


def test_pilots_tell_which_function_is_trained_and_how_far(home: Path) -> None:
    with open_store(home) as store:
        run_id = IDS.waiting
        recorder = SynthesisRecorder(store, run_id, 1, Display(io.StringIO()))
        recorder(PilotStarted(0, ("r0.s0.0", "r0.s1.1"), (1, 2), 9_000))
        recorder.keep_progress(0, 0)
        recorder.keep_progress(0, 4_500)  # too soon after the last to be written
    shown: list[str] = []

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.waiting)
        assert "▶ pilot 1 of 2: 1.1 0%" in seen(screen)
        with open_store(home) as store, store.database.write() as session:
            row = session.scalars(select(Verdict).where(Verdict.kind == "piloting")).one()
            row.reason = {**row.reason, "env_steps": 7_200}
            row.created += 1
        await until(pilot, lambda: "▶ pilot 1 of 2: 1.1 40%" in seen(screen))
        table = screen.query_one(CandidatesTable)
        await until(pilot, lambda: "▶ pilot 40%" in seen(screen))
        assert table.chosen is not None
        shown.append(seen(screen))

    drive(home, steps)
    with open_store(home) as store, store.database.write() as session:
        session.get_one(Run, IDS.waiting).attempt = 2
    with open_store(home, readonly=True) as store:
        view = SynthesisQuery(IDS.waiting).read(store, {})
    assert view.piloting is None, "an earlier attempt's progress is over"


def test_nothing_is_decided_while_a_round_is_under_way(home: Path) -> None:
    undecided(home, 125.0)
    with open_store(home, readonly=True) as store:
        assert SynthesisQuery(IDS.waiting).read(store, {}).standing is None


def test_home_and_end_go_to_the_first_and_the_last_row(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        table = screen.query_one(CandidatesTable)
        await pilot.press("end")
        await until(pilot, lambda: table.chosen == table.places[-1])
        assert table.scroll_x == 0
        await pilot.press("home")
        await until(pilot, lambda: table.chosen == (0, -1, 0))

    drive(home, steps, size=(60, 15))


def test_the_list_keeps_the_keys(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        table = screen.query_one(CandidatesTable)
        for key in ["d", "z", "z", "z", "d", "2", "z", "tab", "4", "j", "l", "shift+tab"]:
            await pilot.press(key)
            await pilot.pause()
            assert app.focused is table, key
        await pilot.click("#detail ContentTab", offset=(3, 0))
        await pilot.pause()
        assert app.focused is table
        chosen = table.chosen
        await pilot.press("down")
        await until(pilot, lambda: table.chosen != chosen)

    drive(home, steps, size=(80, 24))


def test_marking_says_what_to_do_next(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await at(pilot, screen, (0, 1, 0))
        await pilot.press("d")
        await until(pilot, lambda: any("now d on another" in n.message for n in app._notifications))

    drive(home, steps)


def test_marks_on_the_list_are_explained_below_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        assert "★ selected " in seen(screen)
        await at(pilot, screen, (0, 1, 0))
        await pilot.press("d")
        await until(pilot, lambda: "Δ marked for a diff" in seen(screen))

    drive(home, steps, size=(80, 24))


def test_that_nothing_was_rejected_is_said(home: Path) -> None:
    with open_store(home) as store, store.database.write() as session:
        session.execute(update(Candidate).values(verdict="accepted", stage="done", rule=None))

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        assert "none rejected" in seen(screen)

    drive(home, steps)


def test_what_a_line_has_no_room_for_is_left_out_whole() -> None:
    parts = [(0, Text("▶ running")), (3, Text("✓ 12 accepted")), (6, Text("5.13k tokens"))]
    assert search_head.fitted(parts, 80).plain == "▶ running  ✓ 12 accepted  5.13k tokens"
    assert search_head.fitted(parts, 37).plain == "▶ running  ✓ 12 accepted"
    assert search_head.fitted(parts, 4).plain == "▶ running"


def test_the_embedded_coder_writes_words_and_no_tokens(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        header = seen(screen).splitlines()[1]
        assert "words" in header
        assert "tokens" not in header
        await pilot.press("ctrl+y")
        await at(pilot, screen, (0, 0, 0))
        assert "1,581 + 183 words" in seen(screen)
        await pilot.press("ctrl+y")
        assert app.clipboard.startswith("qllm run matrix/climbing")

    drive(home, steps, size=(150, 36))


def test_what_a_model_wrote_acts_on_nothing(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.pipeline)
        await at(pilot, screen, (1, 0, 0))
        for key in "123":
            await pilot.press(key)
            await pilot.pause()
            for segment in segments(screen):
                assert not set(segment.text) & {"\x1b", "\x07", "\u202e", "\u200b"}
                assert segment.style is None or segment.style.link is None
                meta = segment.style.meta if segment.style is not None else {}
                assert "quit" not in str(meta.get("@click", ""))
        await pilot.press("1")
        assert "[bold red]ACCEPTED[/bold red]" in seen(screen)

    drive(home, steps)


def test_a_search_that_is_not_there_is_said_in_a_line(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        screen = SynthesisScreen(999)
        await app.push_screen(screen)
        notice = screen.query_one("#notice", Static)
        await until(pilot, lambda: "999" in str(notice.content))
        assert notice.display

    drive(home, steps)


LOOKS = [*(("waiting", size) for size in SIZES), ("finished", (80, 24))]


@pytest.mark.parametrize(
    ("name", "size"), LOOKS, ids=[f"{name}-{size[0]}x{size[1]}" for name, size in LOOKS]
)
def test_how_it_looks(home: Path, snap_compare: Any, size: tuple[int, int], name: str) -> None:
    app = QllmApp(home)
    app.animation_level = "none"

    async def before(pilot: Pilot[None]) -> None:
        run_id = IDS.waiting if name == "waiting" else IDS.pipeline
        screen = await opened(app, pilot, run_id)
        await pilot.press(*([] if name == "waiting" else ["5"]))
        await until(pilot, lambda: screen.query_one(CandidatesTable).chosen == (0, 0, 0))
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
