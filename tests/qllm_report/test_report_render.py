"""The report: complete, self-contained, the same every time, and untouched by what it shows."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parent))

from report_fixture import (
    WEIGHTS_CODE,
    candidate,
    changed,
    curve,
    found,
    full_report,
    pilot,
    rejected,
    reply,
    rows,
    search,
    selecting,
)

from prompts.cards import TaskCard
from qllm.facts.results import ResultRow
from qllm.facts.runs import RunFacts
from qllm.report.data import Report
from qllm.report.render import render, write_report
from qllm.store.schema import ChatMessage

VOID = {"meta", "br", "path", "use", "rect", "link", "img"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order, all text and attributes kept."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.style = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        """The page's text with white space collapsed."""
        return " ".join("".join(self.text).split())

    def attributes(self, name: str) -> list[str]:
        """Values of an attribute, wherever it stands."""
        return [str(attrs[name]) for _, attrs in self.tags if name in attrs]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(full_report()))


def test_it_says_what_was_generated_selected_and_how_it_compares(page: Page) -> None:
    for sentence in (
        "The coder was the sampler, which writes random programs and is not a language model.",
        "it wrote 5 replies; the sandbox accepted 3 and rejected 2",
        "Rejected by: policy.while (1), properties.monotone (1).",
        "Candidate 1.1 was selected: its pilots' mean return is 157.0",
        "qllm reached a mean return of 191.4 [184.0, 197.0] over 3 seeds (IQM 191.4)",
        "vdn reached a mean return of 177.3 [170.0, 183.0] over 3 seeds (IQM 177.3)",
        "With the same seed, qllm minus vdn is 14.1 [13.9, 14.3] on 3 seeds: qllm is higher here.",
        "Differences with the same seed",
        "Selecting the function cost qllm 30,000 environment steps of pilot trainings",
        "those of a seed are over episodes and those of all seeds are over seeds",
    ):
        assert sentence in page.words


def test_it_shows_every_reply_with_verdict_counterexample_and_feedback(page: Page) -> None:
    for piece in (
        "line 2: 'while' is not allowed",
        "agent_qs[1] from 2.0 to 4.0 at last_action = [0, 1]: q_tot falls from 3.5 to 3.0",
        "same function as 1.1",
        "torch.tanh(0.5 * (last_action - last_action.mean(dim=1, keepdim=True)))",
        "algorithm: name: qllm",
        "qllm run matrix/climbing --seeds 0,1,2",
        "torch 2.13.0",
        "1000000, 1000001",
    ):
        assert piece in page.words


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render(full_report()) == render(full_report())


def test_it_needs_no_network_and_no_script(page: Page) -> None:
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form", "link", "img"}
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert page.attributes("src") == []
    assert page.attributes("style") == []
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_its_policy_allows_its_own_style_and_nothing_else(page: Page) -> None:
    policy = next(
        str(attrs["content"])
        for tag, attrs in page.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    position = [attrs.get("http-equiv") for _, attrs in page.tags].index("Content-Security-Policy")
    assert position < [tag for tag, _ in page.tags].index("style")


def test_links_inside_it_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert {href.removeprefix("#") for href in page.attributes("href")} <= set(ids)


HOSTILE = (
    "<script>alert(1)</script></style></title></pre><img src=x onerror=alert(1)>"
    "\"'><a href='javascript:alert(1)'>x</a>{{ 7*7 }}{% raw %}<!--\x00\x1b[31m\u202e\u2066\u200b"
    "\ud800]]><svg/onload=1>&lt;b&gt;"
)


def hostile(value: Any, text: str = HOSTILE) -> Any:
    """A record whose every string is hostile, all the way down."""
    if isinstance(value, str):
        return value + text
    if isinstance(value, tuple):
        return tuple(hostile(item, text) for item in value)
    if isinstance(value, dict):
        return {
            key + text if isinstance(key, str) else key: hostile(item, text)
            for key, item in value.items()
        }
    if isinstance(value, TaskCard):
        return value.model_copy(update={"title": value.title + text, "prose": value.prose + text})
    if isinstance(value, BaseModel):
        spoilt = {name: hostile(getattr(value, name), text) for name in type(value).model_fields}
        return value.model_copy(update=spoilt)
    if isinstance(value, ChatMessage):
        spoilt = {c.key: hostile(getattr(value, c.key), text) for c in value.__table__.columns}
        return ChatMessage(**spoilt)
    if hasattr(value, "__dataclass_fields__"):
        spoilt = {f.name: hostile(getattr(value, f.name), text) for f in fields(value)}
        return replace(value, **spoilt)
    return value


def test_whatever_a_model_wrote_stays_text() -> None:
    html = render(hostile(full_report()))
    page, clean = Page(html), Page(render(full_report()))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags}
    assert page.style == clean.style
    names = {name for _, attrs in page.tags for name in attrs}
    assert names <= {name for _, attrs in clean.tags for name in attrs} | {"colspan"}
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert "<script" not in html
    for shown in ("␀", "␛[31m", "⟨U+202E⟩", "⟨U+2066⟩", "⟨U+200B⟩", "⟨U+D800⟩", "{{ 7*7 }}"):
        assert shown in html
    for hidden in "\x00\x1b\u202e\u2066\u200b\ud800":
        assert hidden not in html
    html.encode("utf-8")


@pytest.mark.parametrize("source", [HOSTILE, '"""' + HOSTILE, "# " + HOSTILE, "x" * 70_000, "\n\n"])
def test_hostile_source_is_highlighted_as_text(source: str) -> None:
    synthesis = selecting(9, candidate(9, 0, code=source, reply=source))
    page = Page(render(replace(full_report(), synthesis=synthesis)))
    assert "script" not in {tag for tag, _ in page.tags}


BEGUN = RunFacts(
    id=7,
    kind="run",
    task="matrix/climbing",
    status="running",
    command="qllm run matrix/climbing",
    created=1.795e9,
)


def test_a_run_that_has_just_begun_has_a_report() -> None:
    page = Page(render(Report(run=BEGUN, synthesis=search())))
    assert "was still running when this report was written" in page.words
    assert "It has not written a function yet." in page.words
    assert "svg" not in {tag for tag, _ in page.tags}


def test_a_damaged_run_is_called_so() -> None:
    run = replace(BEGUN, status="damaged", error="config: no JSON")
    words = Page(render(Report(run=run))).words
    assert "The run has a damaged row in the store: config: no JSON." in words


def test_a_run_whose_candidates_were_all_rejected_says_why() -> None:
    synthesis = search((rejected(1, 0), rejected(2, 1)))
    run = replace(BEGUN, status="failed", error="no candidate was accepted")
    page = Page(render(Report(run=run, synthesis=synthesis)))
    assert "The run failed: no candidate was accepted." in page.words
    assert "the sandbox accepted 0 and rejected 2" in page.words
    assert "No function was selected, since none was accepted." in page.words
    assert "properties.monotone (2)" in page.words


def test_a_plain_training_of_one_seed_has_no_words_on_synthesis_nor_an_interval_over_seeds() -> (
    None
):
    total = replace(rows("vdn", 174.0)[3], return_ci=None, return_mean_ci=None)
    only = (rows("vdn", 174.0)[0], total)
    report = Report(
        run=replace(BEGUN, kind="train", status="finished"),
        rows=only,
        curves=(curve("vdn", 174.0, seeds=(0,)),),
    )
    page = Page(render(report))
    assert "vdn reached a mean return of 177.3 over 1 seed (IQM 177.3)." in page.words
    assert "What was generated" not in page.words
    assert "vdn (1 seed)" not in page.words  # drawn, not written


def test_a_difference_whose_interval_contains_0_is_called_none() -> None:
    better, worse = rows("qllm", 188.0)[0], replace(rows("qllm", 170.0)[1], return_mean=170.0)
    total = replace(rows("qllm", 180.0)[3], return_mean=180.0)
    report = Report(run=BEGUN, rows=(*rows("vdn", 180.0), better, worse, total))
    words = Page(render(report)).words
    assert "qllm minus vdn is -2.65 [-138.0, 132.7] on 2 seeds: these seeds do not tell" in words
    assert "is higher here" not in words


def test_one_seed_in_common_says_how_to_get_an_interval() -> None:
    lone = tuple(replace(r, return_ci=None) for a in ("vdn", "qllm") for r in rows(a, 5.0)[0:4:3])
    words = Page(render(Report(run=BEGUN, rows=lone))).words
    assert "on 1 seed: without an interval" in words
    assert "more seeds (--seeds 0,1,2,3,4) would tell" in words
    assert "do not tell the two apart." not in words.split("Results")[0]


def test_a_rejected_reply_stands_in_the_list_with_its_counterexample() -> None:
    synthesis = search((rejected(2, 1),))
    words = Page(render(Report(run=BEGUN, synthesis=synthesis))).words
    table = words.split("What was generated", 2)[2].split("1.3 is the third")[0]
    assert "agent_qs[1] from 2.0 to 4.0 at last_action = [0, 1]" in table


def test_what_reproduces_a_run_is_its_command_and_its_settings(page: Page) -> None:
    part = page.words.split("How to reproduce")[2]
    for piece in (
        "qllm run matrix/climbing --seeds 0,1,2",
        "qllm run --config settings.yaml",
        "Seeds",
        "Versions",
        "Isolation",
    ):
        assert piece in part


def test_a_row_without_numbers_and_a_failed_pilot_are_shown_as_such() -> None:
    failed = pilot(1, "01" * 32, None, error="loss is not finite")
    synthesis = replace(search((candidate(1, 0),), "a-model"), pilots=(failed,))
    row = ResultRow("qllm", 0, status="died")
    page = Page(render(Report(run=BEGUN, synthesis=synthesis, rows=(row,))))
    assert "failed: loss is not finite" in page.words
    assert "the language model a-model" in page.words
    assert "died" in page.words
    assert "None" not in page.words


def test_an_unfinished_reply_is_called_so() -> None:
    synthesis = replace(search(), turns=(reply("def tf", prompt_tokens=None, streaming=True),))
    assert "sampler, unfinished" in Page(render(Report(run=BEGUN, synthesis=synthesis))).words


def test_long_numbers_of_weights_and_unproved_bounds_are_readable() -> None:
    odd = candidate(1, 0, weight_bounds=((None, 1.23456789), (0.0, None)))
    words = Page(render(Report(run=BEGUN, synthesis=selecting(1, odd)))).words
    assert "agent 0: at most 1.235; agent 1: at least 0" in words


def test_figures_carry_colours_as_classes_and_say_what_they_show(page: Page) -> None:
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert [attrs["class"] for attrs in drawings] == ["wide", "narrow", "whole", "wide", "narrow"]
    assert "vdn ends at" in str(drawings[0]["aria-label"])
    classes = set(" ".join(page.attributes("class")).split())
    assert {"stroke-0", "stroke-1", "fill-0", "fill-1", "fill-ink"} <= classes
    styled = set(re.findall(r"\.((?:fill|stroke)-\w+)", page.style))
    assert {c for c in classes if c.startswith(("fill-", "stroke-"))} <= styled


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "7" / "report.html"
    assert write_report(Report(run=BEGUN), path) == path
    write_report(full_report(), path)
    assert WEIGHTS_CODE.splitlines()[1].strip() in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_labels_that_look_like_mathematics_do_not_stop_the_drawing() -> None:
    report = Report(run=BEGUN, curves=(curve("$\\frac{$ <b>\x1b", 3.0), curve("_x", 1.0)))
    assert render(report).count("<svg") == 2


def test_every_candidate_field_a_reader_needs_reaches_the_page() -> None:
    marked = {name: f"mark-{name}" for name in ("code", "reply", "feedback", "rule", "gate")}
    prop = found("mark-name", "fail", 3, "mark-counterexample", "mark-detail")
    odd = changed(rejected(1, 0), **marked, properties=[prop])
    others = candidate(7, 1, label="mark-parent"), candidate(8, 2, label="mark-first")
    odd = replace(odd, parent_id=7, duplicate_of=8)
    words = Page(render(Report(run=BEGUN, synthesis=search((odd, *others))))).words
    assert "Repairsmark-parent" in words
    assert "Same function asmark-first" in words
    for mark in (*marked.values(), "mark-name", "mark-counterexample", "mark-detail"):
        assert mark in words
