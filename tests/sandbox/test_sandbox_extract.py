"""Finding the Python in what a model replies."""

from __future__ import annotations

import pytest

from sandbox.extract import extract_code, quote_line

CODE = "def tfcaf(state):\n    return state, state[:, :1]\n"


@pytest.mark.parametrize(
    "reply",
    [
        CODE,
        f"```python\n{CODE}```",
        f"```\n{CODE}```",
        f"~~~py\n{CODE}~~~",
        f"Sure! Here it is:\n\n```python\n{CODE}```\nIt weighs every agent alike.",
        f"```python\n{CODE}",
        f"Here it is:\n\n{CODE}\nThis weighs every agent alike.",
        f"```python\r\n{CODE.replace(chr(10), chr(13) + chr(10))}```\r\n",
        f"First a fragment:\n```python\nx = 1\n```\nand now the whole:\n```python\n{CODE}```",
        f"```python\ndef old(state):\n    return 1\n```\nBetter:\n```python\n{CODE}```",
        f"1. A list\n   ```python\n   {CODE.replace(chr(10), chr(10) + '   ').rstrip()}\n   ```",
        f"```json\n{{}}\n```\n```python\n{CODE}```\n```text\noutput\n```",
    ],
    ids=range(12),
)
def test_fences_and_prose_around_the_code_are_left_out(reply: str) -> None:
    assert extract_code(reply) == CODE


def test_imports_and_constants_before_the_function_are_kept() -> None:
    reply = f"The code:\nimport torch\nSCALE: float = 2.0\n{CODE}"
    assert extract_code(reply) == f"import torch\nSCALE: float = 2.0\n{CODE}"


@pytest.mark.parametrize(
    "reply", ["", "\n\n", "I cannot do that.", "```", "```python\n```", "``` ```"]
)
def test_a_reply_without_code_gives_some_text_and_no_error(reply: str) -> None:
    assert isinstance(extract_code(reply), str)


def test_it_takes_linear_time() -> None:
    import time

    started = time.perf_counter()
    for reply in (
        "```\n" * 100_000,
        "x" * 1_000_000,
        "a" * 200_000 + "=",
        "x:" * 100_000,
        "\r" * 200_000,
    ):
        extract_code(reply)
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize(
    ("line", "text"), [(2, "line 2: `return state, state[:, :1]`"), (99, "line 99"), (None, "")]
)
def test_a_line_is_quoted_where_there_is_one(line: int | None, text: str) -> None:
    assert quote_line(CODE, line) == text


def test_a_module_docstring_belongs_to_the_code() -> None:
    source = (
        '"""Credit for the nearest.\n\nfrom far away it is less.\n"""\n\n'
        "def f(state):\n    return state, state\n"
    )
    assert extract_code(source) == source
