"""The sampler: a coder that is no language model, and programs that really compute."""

from __future__ import annotations

import ast
import math
import re

import pytest
import torch
import torch.nn.functional as F
from synth_task_cards import all_cards, lbf_like, no_agent_axis, spread_like

from models.protocol import ChatModel, ChatRequest, Completion, Constraint, Message, ModelError
from prompts.cards import TaskCard, load_card
from sandbox import names
from synth.programs.views import read_views
from synth.sampler import Sampler, count_tokens

ASK = [Message("system", "You write."), Message("user", "Write one function.")]
CARDS = all_cards()
IDS = [card.name for card in CARDS]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def code_of(reply: Completion) -> str:
    found = re.fullmatch(r"(.+?)\n\n```python\n(.*?)```\n", reply.text, re.DOTALL)
    assert found, reply.text
    return found[2]


def run(code: str, card: TaskCard, rows: int = 9) -> tuple[str, torch.Tensor, torch.Tensor | None]:
    """Runs a program on states drawn from the card; gives its form and what it returned."""
    generator = torch.Generator().manual_seed(rows)
    columns = []
    for s, _ in card.offsets():
        low, high = (0.0, 0.0) if s.unused else (s.low, s.high)
        drawn = low + (high - low) * torch.rand(rows, s.size, generator=generator)
        if s.kind != "real":
            drawn = drawn.round()
        if s.sentinels:
            special = torch.rand(rows, s.size, generator=generator) < 0.3
            drawn = torch.where(special, torch.tensor(s.sentinels[0]), drawn)
        columns.append(drawn)
    state = torch.cat(columns, dim=1)
    agent_qs = 50 * torch.randn(rows, card.n_agents, generator=generator)
    space: dict[str, object] = {"torch": torch, "F": F, "math": math}
    exec(compile(code, "sampled", "exec"), space)  # noqa: S102 - our own text
    entry = space["tfcaf"]
    assert callable(entry)
    if "tfcaf(state)" in code:
        weights, bias = entry(state)
        return "weights", weights, bias
    return "mixing", entry(agent_qs, state), None


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_compute_finite_values_of_the_right_shape(card: TaskCard) -> None:
    forms = set()
    for reply in Sampler(card).complete(ChatRequest(ASK, n=60, seed=3)):
        code = code_of(reply)
        form, value, bias = run(code, card)
        forms.add(form)
        if bias is not None:
            assert value.shape == (9, card.n_agents), code
            assert bias.shape == (9, 1), code
            assert torch.isfinite(bias).all(), code
        else:
            assert value.shape == (9, 1), code
        assert torch.isfinite(value).all(), code
    assert forms == {"weights", "mixing"}


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_work_on_a_single_row(card: TaskCard) -> None:
    for reply in Sampler(card).complete(ChatRequest(ASK, n=20, seed=4)):
        _, value, _ = run(code_of(reply), card, rows=1)
        assert value.shape[0] == 1


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_read_only_columns_that_are_in_use(card: TaskCard) -> None:
    unused = [i for i in range(card.state_dim) if card.column(i)[0].unused]
    for reply in Sampler(card).complete(ChatRequest(ASK, n=40, seed=5)):
        values = re.sub(r"(zeros|full)_like\(state", "like(shape", reply.text)  # only its shape
        for start, stop, step in re.findall(r"state\[:, (\d+):(\d+)(?::(\d+))?\]", values):
            columns = range(int(start), int(stop), int(step or 1))
            assert columns[-1] < card.state_dim
            assert not set(columns) & set(unused), reply.text


def test_most_weights_lie_around_one() -> None:
    card = lbf_like()
    means = []
    for reply in Sampler(card).complete(ChatRequest(ASK, n=80, seed=6)):
        form, value, _ = run(code_of(reply), card)
        if form == "weights":
            means.append(value.mean().item())
    assert sum(0.4 < m < 1.8 for m in means) >= 0.95 * len(means)


def test_the_same_request_gives_the_same_replies() -> None:
    card = load_card("matrix/climbing")
    one = [c.text for c in Sampler(card).complete(ChatRequest(ASK, n=5, seed=7))]
    assert one == [c.text for c in Sampler(card).complete(ChatRequest(ASK, n=5, seed=7))]
    assert one[:3] == [c.text for c in Sampler(card).complete(ChatRequest(ASK, n=3, seed=7))]


def test_seed_place_and_conversation_change_the_reply() -> None:
    card = load_card("matrix/climbing")
    sampler = Sampler(card)
    replies = sampler.complete(ChatRequest(ASK, n=40, seed=7))
    replies += sampler.complete(ChatRequest(ASK, n=40, seed=8))
    replies += sampler.complete(ChatRequest([*ASK[:1], Message("user", "Another.")], n=40, seed=7))
    assert len({c.text for c in replies}) >= 0.97 * len(replies)


def test_programs_are_diverse_in_what_they_compute() -> None:
    card = spread_like()
    seen = set()
    for reply in Sampler(card).complete(ChatRequest(ASK, n=60, seed=9)):
        form, value, _ = run(code_of(reply), card)
        seen.add((form, tuple(round(x, 4) for x in value.flatten().tolist())))
    assert len(seen) >= 57


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_use_plain_language_only(card: TaskCard) -> None:
    allowed = (
        ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Return, ast.Name,
        ast.Load, ast.Store, ast.Attribute, ast.Call, ast.keyword, ast.Constant, ast.BinOp,
        ast.UnaryOp, ast.Compare, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.operator,
        ast.unaryop, ast.cmpop,
    )  # fmt: skip
    for reply in Sampler(card).complete(ChatRequest(ASK, n=30, seed=10)):
        tree = ast.parse(code_of(reply))
        for node in ast.walk(tree):
            assert isinstance(node, allowed), ast.dump(node)
        entry = tree.body[-1]
        assert isinstance(entry, ast.FunctionDef)
        used = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)}
        made = [n.targets[0] for n in ast.walk(entry) if isinstance(n, ast.Assign)]
        names = [n.id for n in made if isinstance(n, ast.Name)]
        assert len(names) == len(set(names)), "every name is made once"
        read = {
            n.id for n in ast.walk(entry) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        assert set(names) <= read, "nothing is written that the result does not need"
        assert used


def test_replies_say_what_wrote_them_and_stay_printable() -> None:
    for reply in Sampler(no_agent_axis()).complete(ChatRequest(ASK, n=40, seed=11)):
        assert "random program writer" in reply.text
        assert "not written by a language model" in reply.text
        assert all(c.isprintable() or c == "\n" for c in reply.text)
        assert reply.text.count("```") == 2
        assert max(map(len, reply.text.splitlines())) <= 160


def test_it_speaks_the_chat_protocol_and_is_not_called_a_language_model() -> None:
    sampler = Sampler(load_card("matrix/climbing"))
    assert isinstance(sampler, ChatModel)
    assert (sampler.name, sampler.is_llm) == ("sampler", False)
    told: dict[int, str] = {}

    def on_text(index: int, text: str) -> None:
        told[index] = told.get(index, "") + text

    replies = sampler.complete(ChatRequest(ASK, n=2, seed=1), on_text=on_text)
    assert [told[0], told[1]] == [r.text for r in replies]
    for reply in replies:
        assert reply.completion_tokens == count_tokens(reply.text) > 20
        assert reply.prompt_tokens == sum(count_tokens(m.content) for m in ASK)
        assert reply.model == "sampler"
        assert reply.finish_reason == "stop"
    sampler.close()


def test_a_token_limit_cuts_the_reply_as_a_models_would_be() -> None:
    sampler = Sampler(load_card("matrix/climbing"))
    (whole,) = sampler.complete(ChatRequest(ASK, seed=2))
    (cut,) = sampler.complete(ChatRequest(ASK, seed=2, max_tokens=30))
    assert cut.finish_reason == "length"
    assert cut.completion_tokens == 30
    assert whole.text.startswith(cut.text)


def test_a_constraint_is_refused_with_a_reason() -> None:
    with pytest.raises(ModelError, match="cannot write under a json constraint"):
        Sampler(lbf_like()).complete(ChatRequest(ASK, constraint=Constraint("json", {})))


def test_after_a_monotonicity_failure_no_form_lets_agents_values_interact() -> None:
    card = load_card("matrix/climbing")
    talk = [*ASK, Message("assistant", "x"), Message("user", "q_tot decreases in agent 1's Q")]
    before = [c.text for c in Sampler(card).complete(ChatRequest(ASK, n=200, seed=12))]
    after = [c.text for c in Sampler(card).complete(ChatRequest(talk, n=200, seed=12))]
    assert any("values interact" in t for t in before)
    assert not any("values interact" in t for t in after)
    assert sum(": weights form" in t for t in after) > sum(": weights form" in t for t in before)


def test_a_refinement_may_keep_the_function_and_change_its_strengths() -> None:
    card = lbf_like()
    sampler = Sampler(card)
    shown = next(
        c for c in sampler.complete(ChatRequest(ASK, n=50, seed=13)) if "lean = " in c.text
    )
    refine = Message("user", "The function above was selected as the best so far. Do better.")
    replies = sampler.complete(
        ChatRequest([*ASK, Message("assistant", shown.text), refine], n=40, seed=13)
    )
    varied = [r for r in replies if "with other strengths" in r.text]
    assert 8 <= len(varied) <= 32
    for reply in varied:
        old, new = code_of(shown).splitlines(), code_of(reply).splitlines()
        changed = [a for a, b in zip(old, new, strict=True) if a != b]
        assert changed
        assert all(re.match(r" +(lean|bias)", line) for line in changed)
        run(code_of(reply), card)


def test_views_cover_exactly_the_columns_of_their_slice() -> None:
    for card in CARDS:
        views = read_views(card)
        for component in (*views.agents, *views.others):
            seen: list[int] = []
            for i in range(component.number):
                view = component.view(i)
                columns = range(view.start, view.start + view.count * view.step, view.step)
                assert [*range(card.state_dim)][view.start : columns[-1] + 1 : view.step] == list(
                    columns
                )
                if view.axis == "agents":
                    places = [card.column(c)[1] for c in columns]
                    axis = component.slice.agent_axis
                    assert [p[axis] for p in places] == list(range(card.n_agents))
                seen += columns
            first = component.offset
            assert sorted(seen) == list(range(first, first + component.slice.size))


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_use_only_names_that_the_sandbox_offers(card: TaskCard) -> None:
    offered = {*names.TORCH_FUNCTIONS, *names.TENSOR_METHODS, *names.FUNCTIONAL}
    for reply in Sampler(card).complete(ChatRequest(ASK, n=60, seed=14)):
        tree = ast.parse(code_of(reply))
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert used <= offered, used - offered
