"""One search: conversation, candidates, evaluator, gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static, TabbedContent, TabPane

from qllm.store.commands import CommandName
from qllm.tui.reading.search_rows import CandidateRow
from qllm.tui.reading.search_view import SynthesisView
from qllm.tui.reading.synthesis import SynthesisQuery
from qllm.tui.reading.watch import Look
from qllm.tui.reporting import REPORT_KEYS, ReportingScreen
from qllm.tui.screens.asking import AnswerScreen, AskScreen
from qllm.tui.widgets import search_text
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.candidates import CandidatesTable, Key
from qllm.tui.widgets.conversation import Conversation
from qllm.tui.widgets.source import difference, numbered

_TABS = ("conversation", "source", "feedback", "diff", "evaluator", "gate", "notes")


def _offers(view: SynthesisView) -> tuple[bool, bool]:
    """What the keys that are offered depend on."""
    return view.waiting is not None, view.head.active


class SynthesisScreen(ReportingScreen):
    """One search, followed from the prompt to the selection."""

    TITLE = "synthesis"
    CSS_PATH = "synthesis.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "mark", "diff"),
        Binding("z", "zoom", "zoom"),
        Binding("a", "answer('approve')", "approve"),
        Binding("x", "answer('reject')", "reject"),
        Binding("p", "pause", "pause"),
        Binding("t", "stop_after_round", "stop after round"),
        Binding("s", "stop", "stop"),
        Binding("l", "follow", "follow", show=False),
        *REPORT_KEYS,
        Binding("c", "copy", "copy source", show=False),
        Binding("j", "scroll(1)", "scroll down", show=False),
        Binding("k", "scroll(-1)", "scroll up", show=False),
        *(Binding(str(at), f"tab('{name}')", name, show=False) for at, name in enumerate(_TABS, 1)),
    ]

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self.run_id = run_id
        self.view: SynthesisView | None = None
        self._marked: tuple[int, ...] = ()
        self._follow = True
        self._drawn: dict[str, object] = {}

    def compose(self) -> ComposeResult:
        """Header, two lines of facts, candidates, tabs, footer."""
        yield TitleBar()
        yield Static(id="notice", markup=False)
        yield Static(id="progress", markup=False)
        yield Static(id="setting", markup=False)
        yield Static(id="waiting", markup=False)
        with Container(id="body"):
            yield CandidatesTable()
            with TabbedContent(id="detail", initial="conversation"):
                with TabPane(_TABS[0], id=_TABS[0]):
                    yield Conversation()
                for name in _TABS[1:]:
                    with TabPane(name, id=name), VerticalScroll():
                        yield Static(id=f"{name}-text", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.title = f"synthesis {self.run_id}"
        self.query_one("#waiting").display = False
        self.query_one("#notice", Static).update(Text("reading the store…", "dim"))
        self.query_one(CandidatesTable).focus()

    @property
    def report_words(self) -> Sequence[str]:
        """The run of this search."""
        return [str(self.run_id)]

    @property
    def query_now(self) -> SynthesisQuery:
        """This search."""
        return SynthesisQuery(self.run_id)

    def show(self, look: Look) -> None:
        """Show what changed."""
        if not self.answered(look):
            return
        view: SynthesisView = look.data
        if view == self.view:
            return
        before, self.view = self.view, view
        if before is None:
            self.title = f"synthesis {view.head.run_id} · {view.head.task}"
        for name, line in (
            ("progress", search_text.progress(view)),
            ("setting", search_text.setting(view)),
        ):
            if self._drawn.get(name) != line:  # one line is one line: nothing moves with it
                self._drawn[name] = line
                self.query_one(f"#{name}", Static).update(line, layout=before is None)
        banner = self.query_one("#waiting", Static)
        banner.display = view.waiting is not None
        if view.waiting is not None and (before is None or before.waiting != view.waiting):
            banner.update(search_text.waiting(view))
        table = self.query_one(CandidatesTable)
        table.show(view, frozenset(self._marked))
        if self._follow:
            self._to_what_happens(table)
        self._draw()
        if before is None or _offers(before) != _offers(view):
            self.refresh_bindings()

    def _to_what_happens(self, table: CandidatesTable) -> None:
        """The reply being written, the proposal, or the newest candidate; the best at the end."""
        view = self.view
        assert view is not None
        target = view.candidate(view.best)
        if view.head.active:
            busy = next((w for w in view.writing if w.state != "asked"), None)
            if view.waiting is not None:
                target = view.candidate(view.waiting.candidate_id)
            elif busy is not None:
                table.choose((busy.round, busy.slot, busy.repair))
                return
            else:
                target = max(view.candidates, key=lambda c: (c.round, c.id), default=None)
        if target is not None:
            table.choose(target.place)

    def on_candidates_table_chosen(self, event: CandidatesTable.Chosen) -> None:
        """The tabs speak of the row under the cursor."""
        if event.by_hand:
            self._follow = False
        self._draw()

    def on_data_table_row_selected(self) -> None:
        """Enter, or a second click: the candidate's own screen."""
        candidate = self._candidate()
        if candidate is not None:
            self.qllm.open_candidate(candidate.id)

    def on_tabbed_content_tab_activated(self) -> None:
        """Only the tab in sight is drawn."""
        self._draw()

    def _chosen(self) -> Key | None:
        return self.query_one(CandidatesTable).chosen

    def _candidate(self) -> CandidateRow | None:
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
        candidate = self._candidate()
        text: dict[str, Callable[[], Text | Content]] = {
            "source": lambda: self._source(candidate),
            "feedback": lambda: search_text.feedback(candidate),
            "diff": lambda: self._diff(candidate),
            "evaluator": lambda: search_text.evaluator(view),
            "gate": lambda: search_text.gate(view),
            "notes": lambda: search_text.notes(view),
        }
        if name not in text:
            return
        made = text[name]()
        # Sources are cached by what they show, so the same object is the same text.
        if made is not self._drawn.get(name) and made != self._drawn.get(name):
            self._drawn[name] = made
            self.query_one(f"#{name}-text", Static).update(made)

    def _draw_conversation(self, view: SynthesisView) -> None:
        key = self._chosen()
        talk = self.query_one(Conversation)
        if key is None:
            opening = [t for t in view.turns if t.slot is None]
            talk.show(None, opening, "" if opening else "Nothing was said yet.")
            return
        round_, slot, _ = key
        of_round = [t for t in view.turns if t.round == round_]
        if slot < 0:
            talk.show(key, [t for t in of_round if t.slot is None])
            return
        turns = [t for t in of_round if t.slot == slot]
        folded = f"The opening request stands with round {round_ + 1} on the list."
        if not turns:
            folded = "It was given (--from), so nobody was asked for it."
            if any((w.round, w.slot) == (round_, slot) for w in view.writing):
                folded = "Asked for; nothing is written yet."
        talk.show((round_, slot), turns, folded)

    def _source(self, candidate: CandidateRow | None) -> Text | Content:
        if candidate is None:
            return Text("Choose a candidate on the list to read its source.", "dim")
        return numbered(candidate.code)

    def _diff(self, candidate: CandidateRow | None) -> Text | Content:
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
                "Mark a candidate with d, then move to another: this shows what differs between"
                " their sources. d on the other one keeps the pair.",
                "dim",
            )
        return difference(first.code, second.code, first.label, second.label)

    def action_mark(self) -> None:
        """Mark for a diff: the first, then the other one; a third mark begins anew."""
        candidate = self._candidate()
        if candidate is None or self.view is None:
            self.notify("d marks a candidate, and this row is none", markup=False)
            return
        if candidate.id in self._marked:
            self._marked = tuple(i for i in self._marked if i != candidate.id)
        elif len(self._marked) == 1:
            self._marked = (*self._marked, candidate.id)
            self.action_tab("diff")
        else:
            self._marked = (candidate.id,)
        self.query_one(CandidatesTable).show(self.view, frozenset(self._marked))
        self._draw()

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one("#detail", TabbedContent).active = name

    def action_zoom(self) -> None:
        """Give the tabs the whole screen, or the list its place again."""
        self.toggle_class("-zoomed")
        if not self.has_class("-zoomed"):
            self.query_one(CandidatesTable).focus()  # hidden, it could not keep the keys

    def action_scroll(self, direction: int) -> None:
        """Scroll the tab in sight while the list keeps the keys."""
        pane = self.query_one("#detail", TabbedContent).active_pane
        if pane is not None:
            pane.query_one(VerticalScroll).scroll_relative(y=3 * direction, animate=False)

    def action_follow(self) -> None:
        """Go where something happens, and stay there."""
        self._follow = True
        if self.view is not None:
            self._to_what_happens(self.query_one(CandidatesTable))

    def action_copy(self) -> None:
        """Copy the source of the candidate under the cursor."""
        candidate = self._candidate()
        if candidate is not None:
            self.app.copy_to_clipboard(candidate.code)
            self.notify(f"the source of {candidate.label} is copied", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        view = self.view
        if action == "answer":
            return view is not None and view.waiting is not None
        if action in ("pause", "stop", "stop_after_round"):
            return view is not None and view.head.active
        return True

    def action_answer(self, answer: str) -> None:
        """Answer the proposal that waits."""
        view = self.view
        if view is None or view.waiting is None:
            return
        proposal = view.waiting
        chosen = proposed = view.candidate(proposal.candidate_id)
        own = self._candidate()
        if answer == "approve" and own is not None and own.round == proposal.round:
            chosen = own if own.verdict == "accepted" else proposed
        name = chosen.label if chosen else str(proposal.candidate_id)
        title, payload = name, dict[str, object]()
        if chosen is not None and proposed is not None and chosen.id != proposed.id:
            title = f"{name} instead of {proposed.label}"
            payload["candidate"] = chosen.id
        command: Literal["approve", "reject"] = "approve" if answer == "approve" else "reject"

        def answered(advice: str | None) -> None:
            if advice is not None:
                said = {**payload, **({"advice": advice} if advice else {})}
                self._send(command, said, f"{name}: {command} is sent")

        self.app.push_screen(
            AnswerScreen(command, title, proposal.reason, proposal.advice), answered
        )

    def action_pause(self) -> None:
        """Let the job wait, or go on."""
        if self.view is not None:
            resume = self.view.head.status == "paused"
            word = "go on" if resume else "pause"
            self._send("resume" if resume else "pause", None, f"asked to {word}")

    def action_stop_after_round(self) -> None:
        """Let this round end in its selection, and begin no other."""
        self._send("stop-after-round", None, "asked to stop after this round")

    def action_stop(self) -> None:
        """Stop the job, once that is confirmed."""
        question = (
            f"Stop run {self.run_id}?\n\nThe round under way is not judged;"
            f" `qllm resume {self.run_id}` goes on from here."
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self._send("stop", None, "asked to stop")

        self.app.push_screen(AskScreen(question, "stop"), answered)

    def _send(self, name: CommandName, payload: dict[str, object] | None, said: str) -> None:
        self.run_worker(lambda: self._sending(name, payload, said), thread=True, group="commands")

    def _sending(self, name: CommandName, payload: dict[str, object] | None, said: str) -> None:
        """In a thread: a command is one row in the store."""
        from qllm.store.errors import StoreError
        from qllm.store.store import open_store

        try:
            with open_store(self.qllm.home) as store:
                store.commands.send(self.run_id, name, payload)
        except StoreError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        self.app.call_from_thread(self.notify, f"run {self.run_id}: {said}", markup=False)
        self.qllm.refresh_now()
