"""One candidate: properties, certificate, mathematics, credit weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane, Tabs

from qllm.facts.candidates import CandidateView
from qllm.store.records import PropertyFacts
from qllm.text import one_line, safe
from qllm.tui.episodes import AtWork, Playing
from qllm.tui.jobs import command_line
from qllm.tui.reading.search import CandidateQuery
from qllm.tui.reading.watch import Look
from qllm.tui.screens.live import LiveScreen
from qllm.tui.screens.questions import AskScreen
from qllm.tui.widgets import candidate_text
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.episode import EpisodeView
from qllm.tui.widgets.rows import MOVES, Column, Row, RowList
from qllm.tui.widgets.source import numbered, shown, with_code
from qllm.units import whole

_TABS = ("properties", "mathematics", "source", "credit", "feedback", "reply")
_TITLES = ("1 properties", "2 maths", "3 source", "4 credit", "5 feedback", "6 reply")
"""Which fit in a line of 60 columns."""


_FOUND = (
    Column("property", 18, grows=True),
    Column("found", 10),
    Column("examples", 8, right=True),
)


class PropertiesTable(RowList, inherit_bindings=False):
    """One row a property."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES]

    def __init__(self) -> None:
        super().__init__(_FOUND, _cells, id="found")

    def show(self, properties: Sequence[PropertyFacts]) -> None:
        """Show these, what was found against the function first."""
        self.put([Row(at, fact) for at, fact in enumerate(candidate_text.by_weight(properties))])


def _cells(fact: PropertyFacts, widths: Sequence[int]) -> list[Text]:
    examples = whole(fact.examples) if fact.examples else ""
    return [
        Text(one_line(fact.name, 30)),
        candidate_text.property_status(fact.status),
        Text(examples),
    ]


class CandidateScreen(LiveScreen):
    """The sandbox's findings on a function, and its behaviour."""

    TITLE = "candidate"
    CSS_PATH = "candidate.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "train", "train with it", tooltip="shows the command line first"),
        Binding("g", "players", "who plays", tooltip="trained agents, or chance"),
        Binding("c", "copy", "copy source"),
        Binding("j", "scroll(1)", "scroll down", show=False),
        Binding("k", "scroll(-1)", "scroll up", show=False),
        *(Binding(str(at), f"tab('{name}')", name, show=False) for at, name in enumerate(_TABS, 1)),
    ]

    def __init__(self, candidate_id: int) -> None:
        super().__init__()
        self.candidate_id = candidate_id
        self.view: CandidateView | None = None
        self._playing: Playing | None = None
        self._trained = True
        """Trained agents act in the episode if there are any, else random ones."""

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield Static(id="notice", markup=False)
        yield Static(id="head", markup=False)
        with TabbedContent(id="detail", initial="properties"):
            with TabPane(_TITLES[0], id="properties"), Container(id="looked-at"):
                yield PropertiesTable()
                with VerticalScroll(id="facts"):
                    yield Static(id="one", markup=False)
                    yield Static(id="certificate", markup=False)
            with TabPane(_TITLES[1], id="mathematics"), VerticalScroll():
                yield Static(Text("working it out…", "dim"), id="mathematics-text", markup=False)
            with TabPane(_TITLES[2], id="source"), VerticalScroll():
                yield Static(id="source-text", markup=False)
            with TabPane(_TITLES[3], id="credit"):
                yield EpisodeView()
            with TabPane(_TITLES[4], id="feedback"), VerticalScroll():
                yield Static(id="feedback-text", markup=False)
            with TabPane(_TITLES[5], id="reply"), VerticalScroll():
                yield Static(id="reply-text", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.title = f"candidate {self.candidate_id}"
        self.query_one("#notice", Static).update(Text("reading the store…", "dim"))
        # At once: a later focus would bring its tab back where another one has been chosen by then.
        self.set_focus(self.query_one(PropertiesTable))

    def on_unmount(self) -> None:
        if self._playing is not None:
            self._playing.cancel()

    @property
    def query_now(self) -> CandidateQuery:
        return CandidateQuery(self.candidate_id)

    @property
    def to_copy(self) -> str:
        """The command line that trains with it, or the source of a rejected one."""
        view = self.view
        if view is None:
            return ""
        return self._training_command(view) if view.train else view.row.code

    def _training_command(self, view: CandidateView) -> str:
        home = self.qllm.home
        return command_line([*view.train, *([] if home is None else ["--home", str(home)])])

    def on_resize(self) -> None:
        """What is left out of the first line depends on its width."""
        self._draw_head()

    def _draw_head(self) -> None:
        if self.view is not None:
            line = candidate_text.head(self.view, self.size.width - 2)
            self.query_one("#head", Static).update(line)

    def show(self, look: Look) -> None:
        """Show what changed, which is seldom anything."""
        if not self.answered(look):
            return
        view: CandidateView = look.data
        if view == self.view:
            return
        first, self.view = self.view is None, view
        self.title = f"candidate {view.row.label} · {view.task}"
        self._draw_head()
        self.query_one(PropertiesTable).show(view.row.check.properties)
        self.on_row_list_moved()
        self.query_one("#certificate", Static).update(candidate_text.certificate(view))
        self.query_one("#source-text", Static).update(numbered(view.row.code))
        said = shown(view.row.check.feedback) or candidate_text.SILENT
        self.query_one("#feedback-text", Static).update(Text(said))
        self.query_one("#reply-text", Static).update(with_code(view.row.reply))
        if first and not view.row.check.properties:
            self.action_tab("feedback")
        self._at_work()
        self.refresh_bindings()

    def on_row_list_moved(self, event: RowList.Moved | None = None) -> None:
        fact = self.query_one(PropertiesTable).value
        self.query_one("#one", Static).update(candidate_text.found(fact))

    def on_tabbed_content_tab_activated(self) -> None:
        """Work out what is shown only when it is looked at."""
        self._at_work()
        self.refresh_bindings()
        pane = self.query_one("#detail", TabbedContent).active_pane
        # What had the keys is out of sight; the bar of tabs keeps them, to go on to the next tab.
        if pane is not None and not isinstance(self.focused, Tabs):
            own = {"properties": "PropertiesTable", "credit": "EpisodeView"}
            # At once: a later focus would bring this pane back if another one is shown by then.
            self.set_focus(pane.query_one(own.get(pane.id or "", "VerticalScroll")))

    def _tab(self) -> str:
        return self.query_one("#detail", TabbedContent).active

    def _at_work(self) -> None:
        """Compute mathematics and episode when their tab is first shown."""
        view = self.view
        if (
            view is None
            or self._playing is not None
            or self._tab() not in ("mathematics", "credit")
        ):
            return
        if not view.row.accepted:
            why = candidate_text.nothing_to_run(view)
            self.query_one("#mathematics-text", Static).update(Text(why, "dim"))
            self.query_one(EpisodeView).say(why)
            return
        self.query_one(EpisodeView).say("playing an episode, in a process of its own…")
        self._playing = Playing(
            self.qllm.home, view.row.id, view.row.graph_hash, self._trained, self._told
        )
        self._playing.start()

    def _told(self, known: AtWork) -> None:
        """Called in any thread."""
        if self.is_running:
            self.app.call_later(self._show_at_work, known)

    def _show_at_work(self, known: AtWork) -> None:
        if not self.query(EpisodeView):
            return  # the screen is on its way out
        if known.mathematics is not None:
            text = Text(safe(known.mathematics, newlines=True))
            if not known.mathematics:
                text = Text("The function is too large to be written out.", "dim")
            self.query_one("#mathematics-text", Static).update(text)
        if known.episode is not None:
            self.query_one(EpisodeView).show(known.episode)
        elif known.problem:
            self.query_one(EpisodeView).say(known.problem)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "train":
            return self.view is not None and bool(self.view.train)
        if action == "players":
            return self.view is not None and self.view.row.accepted and self._tab() == "credit"
        return True

    def action_tab(self, name: str) -> None:
        # A hidden widget that holds the keys would hand them to a neighbour, and its tab with them.
        self.set_focus(None)
        self.query_one("#detail", TabbedContent).active = name

    def action_copy(self) -> None:
        if self.view is not None:
            self.qllm.copy(self.view.row.code, "the source")

    def action_players(self) -> None:
        """Let the other ones act in the episode: trained agents, or chance."""
        self._trained = not self._trained
        who = "trained agents, if there are any" if self._trained else "chance"
        self.notify(f"who plays: {who}")
        if self._playing is not None:
            self._playing.cancel()
        self._playing = None
        self._at_work()

    def action_train(self) -> None:
        """Show the command line that trains with it, and run it if that is wanted."""
        view = self.view
        if view is None or not view.train:
            return
        words, command = view.train, self._training_command(view)
        self.app.copy_to_clipboard(command)

        def answered(yes: bool | None) -> None:
            if yes and (job := self.qllm.start_job(words)) is not None:
                said = f"started as process {job.pid}; it appears among the runs"
                self.notify(said)

        question = f"Train with candidate {view.row.label}?\n\n{command}\n\n(copied)"
        self.app.push_screen(AskScreen(question, "start it"), answered)
