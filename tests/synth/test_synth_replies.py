"""Realistic wrong replies of small models: what the sandbox says of each, and that it is mended.

``replies/NAME.md`` is a reply with a head that says what becomes of it: ``accepted``, or the rule
that it is ``refused`` by and what the feedback ``says``: where the mistake is and what to write
instead. ``NAME.fixed.md`` is what a model answers that was told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from synth_fakes import Script

from models.protocol import ChatRequest, Completion, Message
from prompts.cards import TaskCard, load_card
from prompts.render import CoderPrompts
from sandbox.checker import Sandbox
from sandbox.config import GateConfig, GateMode, SandboxConfig
from sandbox.names import names_for_prompt
from sandbox.report import CheckReport
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.evaluator import FirstAccepted
from synth.events import CandidateChecked, Prompted
from synth.loop import synthesise
from synth.replies import said_by_model

pytestmark = pytest.mark.long

FOLDER = Path(__file__).with_name("replies")
LONGEST_FEEDBACK = 1_200
"""Characters; a small model loses sight of the task behind more."""
_CUT = ("cut off at", "write a shorter one", "Think less")
"""What the loop says, and not the sandbox, of a reply that ended at the token limit."""


@dataclass(frozen=True)
class Case:
    """A reply and what becomes of it."""

    name: str
    text: str
    task: str
    accepted: bool = False
    refused: str = ""
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """What would only distract from the mistake."""
    finish: str = "stop"
    fixed: str = ""


def _read(path: Path) -> Case:
    head, text = path.read_text().removeprefix("---\n").split("---\n", 1)
    facts = yaml.safe_load(head)
    fixed = path.with_suffix(".fixed.md")
    words = {name: tuple(facts.pop(name, ())) for name in ("says", "silent")}
    mended = fixed.read_text() if fixed.exists() else ""
    return Case(path.stem, text, fixed=mended, **words, **facts)


CASES = [_read(p) for p in sorted(FOLDER.glob("*.md")) if not p.name.endswith(".fixed.md")]
REFUSED = [c for c in CASES if not c.accepted]
TASKS = sorted({c.task for c in CASES})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(examples=20)) as opened:
        yield opened


@pytest.fixture(scope="module")
def cards() -> dict[str, TaskCard]:
    return {task: load_card(task) for task in TASKS}


@pytest.fixture(scope="module")
def reports(sandbox: Sandbox, cards: dict[str, TaskCard]) -> dict[str, CheckReport]:
    found = {}
    for task in TASKS:
        cases = [c for c in CASES if c.task == task]
        checked = sandbox.check_all([c.text for c in cases], cards[task])
        found.update({c.name: r for c, r in zip(cases, checked, strict=True)})
    return found


def test_there_are_enough_replies_of_every_kind() -> None:
    assert len(CASES) >= 40
    assert sum(c.finish == "length" for c in REFUSED) >= 5
    assert all(c.refused and c.says and c.fixed for c in REFUSED)
    assert not [c.name for c in CASES if c.accepted and (c.refused or c.fixed)]
    assert len(TASKS) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_reply_is_accepted_or_told_where_it_is_wrong_and_what_to_write_instead(
    case: Case, reports: dict[str, CheckReport]
) -> None:
    report = reports[case.name]
    assert report.accepted == case.accepted, report.feedback
    if case.accepted:
        assert report.graph is not None
        return
    assert report.rule == case.refused, report.feedback
    for words in case.says:
        assert words in report.feedback or words in _CUT, report.feedback
    assert not [words for words in case.silent if words in report.feedback]
    assert len(report.feedback) <= LONGEST_FEEDBACK


@dataclass
class _Coder(Script):
    """Writes each slot's reply of its case first, and mends it only when it is told how."""

    cases: Sequence[Case] = ()

    def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
        """As a script; a cut reply says so."""
        on_done = asked.pop("on_done", None)
        done = []
        for index, reply in enumerate(super().complete(request, **asked)):
            cut = len(request.messages) == 2 and self.cases[index].finish == "length"
            reason: Any = "length" if cut else "stop"
            done.append(Completion(reply.text, self.name, reply.seed, 1, 1, 0.0, reason))
            if on_done is not None:
                on_done(index, done[-1])
        return done


def _scripted(cases: Sequence[Case]) -> _Coder:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        if len(messages) == 2:
            return cases[index].text
        told = messages[-1].content
        mine = [c for c in cases if said_by_model(c.text) == messages[2]]
        # Several may have said nothing that is an answer: the one that is told most is meant.
        case = max(mine, key=lambda c: sum(words in told for words in c.says))
        return case.fixed if all(words in told for words in case.says) else case.text

    return _Coder(answer, cases=cases)


@pytest.fixture(scope="module", params=TASKS)
def search(
    request: pytest.FixtureRequest,
    sandbox: Sandbox,
    cards: dict[str, TaskCard],
    reports: dict[str, CheckReport],
) -> tuple[list[Case], SynthesisResult, list[Any], _Coder]:
    """One synthesis for a task, all of its refused replies under way at the same time."""
    cases = [c for c in REFUSED if c.task == request.param]
    card, coder, seen = cards[request.param], _scripted(cases), list[Any]()
    known = {c.text: reports[c.name] for c in cases}

    def check(reply: str, mode: GateMode) -> CheckReport:
        return known.get(reply) or sandbox.check(reply, card, GateConfig(mode=mode))

    around = SearchContext(
        coder=coder,
        check=check,
        evaluator=FirstAccepted(),
        emit=seen.append,
        control=lambda: "continue",
        render=CoderPrompts(card, names=names_for_prompt()),
    )
    config = SynthConfig(rounds=1, candidates=len(cases), repairs=2)
    return cases, synthesise(card, config, around), seen, coder


def test_every_refused_reply_is_mended_by_its_feedback(
    search: tuple[list[Case], SynthesisResult, list[Any], _Coder],
) -> None:
    cases, result, _, _ = search
    last = {c.slot: c for c in result.candidates}
    for slot, case in enumerate(cases):
        assert last[slot].accepted, f"{case.name}: {last[slot].report.feedback}"
        assert last[slot].repair == 1, case.name
        assert last[slot].duplicate_of is None, f"{case.name} is {last[slot].duplicate_of}"
    assert result.selected is not None


def test_a_correction_is_asked_for_in_the_conversation_of_its_reply(
    search: tuple[list[Case], SynthesisResult, list[Any], _Coder],
) -> None:
    cases, _, seen, coder = search
    checked = [e.candidate for e in seen if isinstance(e, CandidateChecked)]
    told = {c.slot: c.report.feedback for c in checked}
    asked = {e.slot: e for e in seen if isinstance(e, Prompted) and e.repair == 1}
    first = {c.slot: c.report for c in checked if not c.repair}
    assert sorted(asked) == sorted(told) == list(range(len(cases)))
    for slot, case in enumerate(cases):
        messages = asked[slot].messages
        assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
        assert messages[:2] == tuple(coder.calls[0]["messages"])
        assert messages[2] == said_by_model(case.text)
        assert first[slot].feedback.strip() in messages[3].content
        cut = any(words in messages[3].content for words in _CUT)
        assert cut == (case.finish == "length")
