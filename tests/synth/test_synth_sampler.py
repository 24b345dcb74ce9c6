"""The sampler: a coder that is no language model, and programs that really compute."""

from __future__ import annotations

import ast
import math
import re
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from synth_task_cards import all_cards, lbf_like, no_agent_axis, spread_like

from models.protocol import ChatModel, ChatRequest, Completion, Constraint, Message, ModelError
from prompts.cards import TaskCard, load_card
from prompts.views import state_views
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


def parameters_of(code: str) -> list[str]:
    return [p.arg for p in cast(ast.FunctionDef, ast.parse(code).body[-1]).args.args]


def parts_of(card: TaskCard, state: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state's parts by name."""
    found = {}
    for name, view in state_views(card).items():
        members = [state[:, at : at + view.member.size] for at in view.starts]
        found[name] = torch.stack(members, dim=1).reshape(len(state), *view.shape)
    return found


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
    known = {"agent_qs": agent_qs, "state": state, **parts_of(card, state)}
    given = [known[name] for name in parameters_of(code)]
    if given[0] is not agent_qs:
        weights, bias = entry(*given)
        return "weights", weights, bias
    return "mixing", entry(*given), None


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
def test_parameters_are_the_parts_of_the_state_that_a_program_reads(card: TaskCard) -> None:
    parts = [name for name in state_views(card) if name != "class"]  # no name in Python
    for reply in Sampler(card).complete(ChatRequest(ASK, n=40, seed=5)):
        code = code_of(reply)
        entry = ast.parse(code).body[-1]
        read = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)}
        taken = [name for name in parameters_of(code) if name != "agent_qs"]
        assert taken == [name for name in parts if name in read] or (taken, parts) == (
            ["state"],
            [],
        )


@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-2s", "mpe/spread-3", "mpe/tag"])
def test_fields_of_numbered_things_are_read_for_all_of_them(task: str) -> None:
    card = load_card(task)
    replies = Sampler(card).complete(ChatRequest(ASK, n=60, seed=15))
    read = {name for r in replies for name in parameters_of(code_of(r))}
    assert read == {"agent_qs", *state_views(card)}
    assert sum("distance_to_" in r.text for r in replies) > 20
    for reply in replies:
        form, value, _ = run(code_of(reply), card)
        assert value.shape == (9, card.n_agents if form == "weights" else 1)
        assert torch.isfinite(value).all()


def test_distances_are_those_between_agents_and_things() -> None:
    card = load_card("lbf/8x8-2p-2f-coop-2s")
    state = torch.tensor([[0.0, 0, 1, 7, 3, 1, 1, 1, 2, 6, 3, 2, 0, 0]])
    space: dict[str, Any] = {}
    replies = Sampler(card).complete(ChatRequest(ASK, n=40, seed=16))
    code = next(c for c in map(code_of, replies) if "distance_to_food = " in c)
    head, _, _ = code[code.index("def tfcaf") :].partition("distance_to_food = ")
    line = code[len(head) + code.index("def tfcaf") :].partition("\n")[0]
    exec(f"{head}{line}\n    return distance_to_food", {"torch": torch}, space)  # noqa: S102
    known = {"agent_qs": torch.zeros(1, 2), **parts_of(card, state)}
    distance = space["tfcaf"](*[known[name] for name in parameters_of(code)])
    assert distance.tolist() == pytest.approx(torch.tensor([[[2.0, 9], [8, 1]]]) / 7)


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


def test_views_cover_each_column_of_their_part_once() -> None:
    tasks = [load_card("lbf/8x8-2p-2f-coop-2s"), load_card("mpe/tag"), load_card("football/3-vs-1")]
    for card in [*CARDS, *tasks]:
        columns = parts_of(card, torch.arange(card.state_dim).view(1, -1))
        views = read_views(card)
        for part in (*views.agents, *views.others):
            seen: list[int] = []
            for i in range(part.number):
                view = part.view(i)
                taken = eval(view.code, dict(columns))  # noqa: S307 - our own text
                assert taken.shape == (1, view.count)
                if view.axis == "agents":
                    assert view.count == card.n_agents
                seen += taken[0].tolist()
            assert sorted(seen) == sorted(columns[part.name].flatten().tolist())
            singles = [eval(part.column(i).code, dict(columns)) for i in range(part.size)]  # noqa: S307
            assert all(one.shape == (1, 1) for one in singles)
            assert sorted(one.item() for one in singles) == sorted(seen)


def test_a_stacked_field_has_the_range_of_all_its_members() -> None:
    card = load_card("lbf/8x8-2p-2f-coop-2s")
    wider = tuple(
        s.model_copy(update={"low": -2, "high": 9, "sentinels": (-7,)})
        if s.name == "food1_level"
        else s
        for s in card.state
    )
    views = read_views(card.model_copy(update={"state": wider}))
    (level,) = [part for part in views.others if part.name == "food_level"]
    assert (level.slice.low, level.slice.high, level.slice.sentinels) == (-2, 9, (0, -7))


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_programs_use_only_names_that_the_sandbox_offers(card: TaskCard) -> None:
    offered = {*names.TORCH_FUNCTIONS, *names.TENSOR_METHODS, *names.FUNCTIONAL}
    for reply in Sampler(card).complete(ChatRequest(ASK, n=60, seed=14)):
        tree = ast.parse(code_of(reply))
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert used <= offered, used - offered
