"""Questions above a screen."""

from __future__ import annotations

from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from qllm.text import rich_text


class AskScreen(ModalScreen[bool]):
    """A question that is answered by yes or no."""

    CSS_PATH = "questions.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape", "answer(False)", "no"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question, self._yes = question, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="question"):
            yield Static(rich_text(self._question, newlines=True), markup=False)
            with Horizontal(classes="buttons"):
                yield Button(Text(f"{self._yes} (y)"), id="yes", variant="warning", compact=True)
                yield Button(Text("no (n)"), id="no", compact=True)

    def on_mount(self) -> None:
        """Focus the harmless answer."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class AnswerScreen(ModalScreen[str | None]):
    """Approve or reject a proposal, with advice for the coder if wanted.

    Its answer is the advice, which may be empty, or ``None`` where it was left.

    Args:
        reason: why the evaluator proposed it.
        advice: the evaluator's own advice, which stands unless another is given.
    """

    CSS_PATH = "questions.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave it open")]

    def __init__(
        self, answer: Literal["approve", "reject"], candidate: str, reason: str, advice: str
    ) -> None:
        super().__init__()
        self._answer, self._candidate = answer, candidate
        self._reason, self._advice = reason, advice

    def compose(self) -> ComposeResult:
        with Vertical(classes="question"):
            title = f"{self._answer} {self._candidate}"
            yield Static(rich_text(title, "bold"), markup=False)
            yield Static(rich_text(self._reason or "no reason was given"), markup=False)
            if self._advice:
                yield Static(rich_text(f"Its advice: {self._advice}", "dim"), markup=False)
            yield Input(placeholder="your own advice to the coder (may stay empty)", compact=True)
            with Horizontal(classes="buttons"):
                yield Button(Text(f"{self._answer} (enter)"), id="yes", compact=True)
                yield Button(Text("leave it open (esc)"), id="no", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        said = self.query_one(Input).value.strip()
        self.dismiss(said if event.button.id == "yes" else None)

    def action_leave(self) -> None:
        self.dismiss(None)
