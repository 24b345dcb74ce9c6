"""How a model's writing is measured: chains of corrections, what counts as different, going on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.coder import CoderBench, Writing, distinct, summary
from models.protocol import ChatRequest, Completion, Message
from prompts.cards import load_card
from prompts.render import CoderPrompts
from sandbox.checker import Sandbox

SUM = "```python\ndef tfcaf(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n```"
TWICE = "```python\ndef tfcaf(agent_qs, state):\n    return 2 * agent_qs.sum(1, keepdim=True)\n```"
BY_STATE = (
    "```python\ndef tfcaf(last_action):\n"
    "    return 1 + (last_action > 0).float(), torch.zeros(last_action.shape[0], 1)\n```"
)
WRONG = "I would add the values up."


class Writer:
    """Answers the first request from a list, and corrections from those of their reply's seed."""

    name, is_llm, context_tokens = "writer", True, None

    def __init__(
        self, first: Sequence[str], corrected: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        self.first = list(first)
        self.corrected = {seed: list(texts) for seed, texts in (corrected or {}).items()}
        self.asked: list[tuple[int, Sequence[Message]]] = []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(messages)

    def complete(self, request: ChatRequest, **_: Any) -> list[Completion]:
        again = bool(self.asked)
        self.asked.append((request.seed, request.messages))
        source = self.corrected[request.seed] if again else self.first
        return [Completion(source.pop(0), self.name, 0, 10, 7, 0.5) for _ in range(request.n)]

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def writing() -> Writing:
    card = load_card("matrix/climbing")
    states = [(-1.0, -1.0), (0.0, 1.0), (2.0, 2.0)]
    return Writing(card, CoderPrompts(card, names=""), None, states)


def test_replies_are_corrected_and_counted(box: Sandbox) -> None:
    model = Writer([SUM, WRONG, WRONG, BY_STATE, TWICE], {1: [SUM], 2: [WRONG, WRONG]})
    chains = CoderBench(model, box, repairs=2).run(writing(), 5)
    assert [c.accepted_at for c in chains] == [0, 1, None, 0, 0]
    assert len(chains[2].attempts) == 3
    corrections = [messages for seed, messages in model.asked[1:] if seed == 2]
    assert "reply is not Python" in corrections[0][-1].content
    assert [m.role for m in corrections[0]] == ["system", "user", "assistant", "user"]
    assert [m.role for m in corrections[1]] == ["system", "user"], "it repeats itself: no replies"
    assert "reply is not Python" in corrections[1][-1].content
    row = summary(chains)
    assert row["accepted_first"] == 0.6
    assert row["accepted"] == 0.8
    assert row["refusals"] == {"policy.syntax": 2}
    assert row["distinct_graphs"] == 3
    assert row["distinct_meanings"] == 2, "a sum and twice the sum give the same credit"
    assert row["non_trivial"] == 1
    assert row["tokens_per_function"] == 8 * 7 / 4


def test_the_same_command_goes_on_with_what_is_missing(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    before = CoderBench(Writer([SUM, BY_STATE]), box, path=path).run(writing(), 2)
    with path.open("a") as file:
        file.write('{"task": "cut sh')
    model = Writer([TWICE])
    after = CoderBench(model, box, path=path).run(writing(), 3)
    assert after[:2] == before
    assert len(model.asked) == 1


def test_functions_of_a_constant_factor_are_alike() -> None:
    one = [[1.0, 2.0], [1.0, 1.0]]
    assert distinct([one, [[2.0, 4.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]], []]) == 3
