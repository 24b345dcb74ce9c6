"""One search: conversation, candidates, evaluator, gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static, TabbedContent, TabPane, Tabs

from qllm.facts.candidates import CandidateFacts
from qllm.facts.search import SearchFacts
from qllm.tui.reading.search import SynthesisQuery
from qllm.tui.reading.watch import Look
from qllm.tui.screens.job import SteeringScreen
from qllm.tui.screens.reporting import REPORT_KEYS
from qllm.tui.widgets import search_head, search_text
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.candidates import CandidatesTable, Place, legend
from qllm.tui.widgets.conversation import Conversation
from qllm.tui.widgets.rows import RowList
from qllm.tui.widgets.source import difference, numbered

_TABS = {
    "conversation": "1 talk",
    "source": "2 source",
    "feedback": "3 feedback",
    "diff": "4 diff",
    "evaluator": "5 judge",
    "gate": "6 gate",
    "notes": "7 notes",
}
"""With their titles, which fit beside the list."""


def _offers(view: SearchFacts) -> tuple[object, ...]:
    """What the keys that are offered depend on."""
    return view.waiting is None, view.head.status, view.head.searched, len(view.rounds), view.asked


class SynthesisScreen(SteeringScreen):
    """One search, followed from the prompt to the selection."""

    TITLE = "synthesis"
    CSS_PATH = "synthesis.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "answer('approve')", "approve", tooltip="the proposal, or the row's function"),
        Binding(
            "x", "answer('reject')", "reject", tooltip="the proposal: the round is judged anew"
        ),
        Binding("r", "run", "run", tooltip="the run that this search belongs to: its trainings"),
        Binding("d", "mark", "diff", tooltip="first on one candidate, then on another (Δ)"),
        Binding("z", "zoom", "zoom", tooltip="the tabs alone, or the list again"),
        Binding("t", "stop_after_round", "end after round", tooltip="the search ends with it"),
        Binding("p", "pause", "pause run", tooltip="its job waits, search and training alike"),
        Binding("p", "go_on", "go on", tooltip="its job waits: let it go on"),
        Binding("s", "stop", "stop run", tooltip="its job ends; `qllm resume` goes on with it"),
        Binding("l", "follow", "follow", show=False, tooltip="go where something happens"),
        *REPORT_KEYS,
        Binding("c", "copy", "copy source", show=False),
        Binding("j", "scroll(1)", "scroll down", show=False),
        Binding("k", "scroll(-1)", "scroll up", show=False),
        *(Binding(str(at), f"tab('{name}')", name, show=False) for at, name in enumerate(_TABS, 1)),
    ]

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._marked: tuple[int, ...] = ()
        self._follow = True

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield Static(id="notice", markup=False)
        yield Static(id="progress", markup=False)
        yield Static(id="setting", markup=False)
        yield Static(id="waiting", markup=False)
        with Container(id="body"):
            with Vertical(id="list"):
                yield CandidatesTable()
                yield Static(id="legend", markup=False)
            with TabbedContent(id="detail", initial="conversation"):
                for name, title in _TABS.items():
                    with TabPane(title, id=name):
                        if name == "conversation":
                            yield Conversation()
                            continue
                        with VerticalScroll():
                            yield Static(id=f"{name}-text", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Say that the store is being read; the list has the keys."""
        self.title = f"synthesis {self.run_id}"
        self.query_one("#waiting").display = False
        self.query_one("#notice", Static).update(Text("reading the store…", "dim"))
        # The list keeps the keys, whatever is shown beside it.
        for other in (*self.query(VerticalScroll), *self.query(Tabs)):
            other.can_focus = False
        self.query_one(CandidatesTable).focus()

    @property
    def to_copy(self) -> str:
        return self.view.head.command if self.view is not None else ""

    def on_resize(self) -> None:
        self._draw_lines()

    @property
    def query_now(self) -> SynthesisQuery:
        return SynthesisQuery(self.run_id)

    def show(self, look: Look) -> None:
        if not self.answered(look):
            return
        view: SearchFacts = look.data
        if view == self.view:
            return
        before, self.view = self.view, view
        if before is None:
            self.title = f"synthesis {view.head.run_id} · {view.head.task}"
        banner = self.query_one("#waiting", Static)
        banner.display = view.waiting is not None
        if view.waiting is not None:
            self.write("waiting", search_text.waiting(view))
        table = self.query_one(CandidatesTable)
        table.show(view, frozenset(self._marked))
        if self._follow:
            self._to_what_happens(table)
        self._draw_lines()
        self._draw()
        if before is None or _offers(before) != _offers(view):
            self.refresh_bindings()

    def _draw_lines(self) -> None:
        """The lines over and under the list, as far as there is room."""
        view = self.view
        if view is None:
            return
        width = self.size.width - 2
        list_width = self.query_one("#list").size.width - 2
        words = legend(view, bool(self._marked))
        self.write("progress", search_head.progress(view, width), wraps=False)
        self.write("setting", search_head.setting(view, width), wraps=False)
        self.write("legend", search_head.below(words, list_width), wraps=False)

    def _to_what_happens(self, table: CandidatesTable) -> None:
        """The reply being written, the proposal, or the newest candidate; the best at the end."""
        view = self.view
        assert view is not None
        target = view.candidate(view.best)
        if view.head.searching:
            busy = next((w for w in view.writing if w.state != "asked"), None)
            if view.waiting is not None:
                target = view.candidate(view.waiting.candidate_id)
            elif busy is not None:
                table.choose((busy.round, busy.slot, busy.repair))
                return
            elif view.piloting is not None:
                label = view.piloting.names[view.piloting.at]
                piloted = next((c for c in view.candidates if c.label == label), None)
                target = piloted or view.candidate(view.best)
            else:
                target = max(view.candidates, key=lambda c: (c.round, c.id), default=None)
        if target is not None:
            table.choose(target.place)

    def on_candidates_table_chosen(self, event: CandidatesTable.Chosen) -> None:
        if event.by_hand:
            self._follow = False
        self._draw()

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        """Enter, or a second click: the candidate's own screen."""
        candidate = self.candidate_under_cursor() or self._of_round()
        if candidate is not None:
            from qllm.tui.screens.candidate import CandidateScreen

            self.app.push_screen(CandidateScreen(candidate.id))
        else:
            self.action_tab("conversation")  # with what is being written

    def _of_round(self) -> CandidateFacts | None:
        """For a round under the cursor: what it selected, else its newest candidate."""
        key, view = self._chosen(), self.view
        if key is None or view is None or key[1] >= 0:
            return None
        selected = next((r.selected for r in view.rounds if r.round == key[0]), None)
        newest = max((c for c in view.candidates if c.round == key[0]), key=_made, default=None)
        return view.candidate(selected) or newest

    def on_tabbed_content_tab_activated(self) -> None:
        self._draw()

    def _chosen(self) -> Place | None:
        return self.query_one(CandidatesTable).chosen

    def candidate_under_cursor(self) -> CandidateFacts | None:
        key = self._chosen()
        if key is None or self.view is None:
            return None
        return next((c for c in self.view.candidates if c.place == key), None)

    def _draw(self) -> None:
        """Draw the tab in sight, if what it shows changed."""
        view = self.view
        if view is None:
            return
        name = self.query_one("#detail", TabbedContent).active
        if name == "conversation":
            self._draw_conversation(view)
            return
        candidate = self.candidate_under_cursor()
        text: dict[str, Callable[[], Text | Content]] = {
            "source": lambda: self._source(candidate),
            "feedback": lambda: search_text.feedback(candidate),
            "diff": lambda: self._diff(candidate),
            "evaluator": lambda: search_text.evaluator(view),
            "gate": lambda: search_text.gate(view),
            "notes": lambda: search_text.notes(view),
        }
        if name in text:
            self.write(f"{name}-text", text[name]())

    def _draw_conversation(self, view: SearchFacts) -> None:
        key = self._chosen()
        talk = self.query_one(Conversation)
        if key is None:
            opening = [t for t in view.turns if t.slot is None]
            talk.show(None, opening, "" if opening else "Nothing was said yet.", view.head.unit)
            return
        round_, slot, _ = key
        of_round = [t for t in view.turns if t.round == round_]
        if slot < 0:
            talk.show(key, [t for t in of_round if t.slot is None], unit=view.head.unit)
            return
        turns = [t for t in of_round if t.slot == slot]
        folded = f"The opening request stands with round {round_ + 1} on the list."
        if not turns:
            folded = "It was given (--from), so nobody was asked for it."
            if any((w.round, w.slot) == (round_, slot) for w in view.writing):
                folded = "Asked for; nothing is written yet."
        talk.show((round_, slot), turns, folded, view.head.unit)

    def _source(self, candidate: CandidateFacts | None) -> Text | Content:
        if candidate is None:
            return Text("Choose a candidate on the list to read its source.", "dim")
        return numbered(candidate.code)

    def _diff(self, candidate: CandidateFacts | None) -> Text | Content:
        view = self.view
        assert view is not None
        first, second = (*map(view.candidate, self._marked), None, None)[:2]
        if first is None and candidate is not None and candidate.repair:
            first = next(
                (
                    c
                    for c in view.candidates
                    if c.place == (candidate.round, candidate.slot, candidate.repair - 1)
                ),
                None,
            )
        second = second or candidate
        if first is None or second is None or first.id == second.id:
            return Text(
                "Press d on a candidate, then d on another: this shows what differs between their"
                " sources. A third d begins anew.",
                "dim",
            )
        return difference(first.code, second.code, first.label, second.label)

    def action_mark(self) -> None:
        """Mark for a diff: the first, then the second; a third mark starts over."""
        candidate = self.candidate_under_cursor()
        if candidate is None or self.view is None:
            self.notify("d marks a candidate, and this row is none")
            return
        if candidate.id in self._marked:
            self._marked = tuple(i for i in self._marked if i != candidate.id)
            self.notify(f"{candidate.label} is not marked any more")
        elif len(self._marked) == 1:
            self._marked = (*self._marked, candidate.id)
            self.action_tab("diff")
        else:
            self._marked = (candidate.id,)
            said = f"{candidate.label} is marked (Δ): now d on another candidate shows their diff"
            self.notify(said)
        self.query_one(CandidatesTable).show(self.view, frozenset(self._marked))
        self._draw_lines()
        self._draw()

    def action_tab(self, name: str) -> None:
        self.query_one("#detail", TabbedContent).active = name

    def action_zoom(self) -> None:
        """Give the tabs the whole screen, or the list its place again."""
        self.toggle_class("-zoomed")  # the list gets no room then, and keeps the keys

    def action_follow(self) -> None:
        """Go where something happens, and stay there."""
        self._follow = True
        if self.view is not None:
            self._to_what_happens(self.query_one(CandidatesTable))

    def action_copy(self) -> None:
        candidate = self.candidate_under_cursor()
        if candidate is not None:
            self.qllm.copy(candidate.code, f"the source of {candidate.label}")

    def action_run(self) -> None:
        """The screen of the run, which may be the one below."""
        view = self.view
        if view is None:
            return
        below = self.app.screen_stack[-2]
        if getattr(below, "run_id", None) == self.run_id:
            self.qllm.action_up()
        else:
            self.qllm.open_run(self.run_id, view.head.kind)


def _made(candidate: CandidateFacts) -> int:
    return candidate.id
