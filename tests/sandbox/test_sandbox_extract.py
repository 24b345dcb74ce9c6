"""Finding the Python in what a model replies."""

from __future__ import annotations

import json

import pytest

from sandbox.extract import answer_of, extract_code, extract_json, quote_line

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
        '```\n\\"""\n' * 30_000,
        "```\n'''\n\"\"\"\n" * 30_000,
        "```\n" + "\"\"\"'''" * 50_000,
        "```\n" + "'" * 200_001,
        "<think>\n" * 50_000,
        "</think>\n" * 50_000,
        "{" * 200_000 + "}" * 200_000,
    ):
        extract_code(reply)
        list(extract_json(reply))
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


DOCUMENTED = '''\
def tfcaf(agent_qs, state):
    """Sum.

    ```
    q_tot = sum(q)
    ```
    """
    return agent_qs.sum(dim=1, keepdim=True)
'''
INNER = "```python\ndef tfcaf(x):\n    return 1\n"


@pytest.mark.parametrize(
    "code",
    [
        DOCUMENTED,
        DOCUMENTED.replace('"""', "'''"),
        DOCUMENTED.replace('"""', 'r"""', 1),
        DOCUMENTED.replace("```", "~~~"),
        DOCUMENTED.replace("    ```\n", INNER, 1),
        DOCUMENTED.replace("Sum.", "It's ''' and \\\"\"\" too."),
        '# """ no string\n' + DOCUMENTED,
        'A = \'"""\'\nB = "it\'s"\n' + DOCUMENTED,
        f'"""About it.\n\n{INNER}```\n"""\n\n{DOCUMENTED}',
        DOCUMENTED.replace('    ```\n    """', '    """'),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("around", ["```python\n{}```\nDone.", "~~~\n{}~~~", "```\n{}", "{}"])
def test_a_fence_in_a_docstring_belongs_to_the_code(code: str, around: str) -> None:
    assert extract_code(around.format(code)) == code
    if around != "{}":
        tried = f"First:\n```python\nx = 1\n```\nThen:\n{around.format(code)}"
        assert extract_code(tried) == code


def test_where_a_string_never_ends_every_fence_counts() -> None:
    """So three quotes too many cost no more than the block that they are in."""
    fenced = f"```python\n{CODE}```\n"
    assert extract_code(f'Quotes: """\n{fenced}') == CODE
    assert extract_code(f"```text\n'''\n```\n{fenced}") == CODE
    assert extract_code(f'```python\n{CODE}x = """\n```\nDone.') == CODE + 'x = """\n'


def test_a_byte_order_mark_is_no_part_of_the_code() -> None:
    assert extract_code("\ufeff" + CODE) == CODE
    assert extract_code(f"\ufeff```python\n{CODE}```") == CODE
    assert extract_code(f"```python\n\ufeff{CODE}```") == CODE


THOUGHT = "<think>\nMaybe\n```python\ndef tfcaf(state):\n    return 1\n```\nno, that is wrong."


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (THOUGHT, ""),
        (f"\n  {THOUGHT}", "\n"),
        (f"{THOUGHT}\n</think>", ""),
        (f"{THOUGHT}\n</think>\n\n{CODE}", f"\n\n{CODE}"),
        (f"well </think>{CODE}", CODE),
        (f"{CODE}</think>\n", CODE),
        (f"{THOUGHT}</think>{CODE}{THOUGHT}", CODE),
        (f"{CODE}\n{THOUGHT}", f"{CODE}\n"),
        ("[THINK]hm[/THINK]yes", "yes"),
        ("<Thinking>hm</Thinking>yes", "yes"),
        ("the tag <think> in prose", "the tag <think> in prose"),
        (CODE, CODE),
    ],
)
def test_thoughts_are_no_answer_whether_they_end_or_not(reply: str, answer: str) -> None:
    assert answer_of(reply) == answer
    assert "return 1" not in extract_code(reply)


@pytest.mark.parametrize(
    "reply",
    [
        '{"a": "}{"}',
        ' {"a": "}{"}\n',
        '```json\n{"a": "}{"}\n```',
        '```\n{"a": "}{"}',
        'I choose:\n\n~~~json\n{"a": "}{"}\n~~~\nHope this helps.',
        'First\n```json\n{"a": 1}\n```\nno:\n```json\n{"a": "}{"}\n```',
        '<think>\n{"a": 1}?\n</think>\n\n{"a": "}{"}',
        'My choice is {"a": "}{"}, since it is simple.',
        '\ufeff{"a": "}{"}',
    ],
)
def test_json_is_found_in_what_stands_around_it(reply: str) -> None:
    assert next(text for text in extract_json(reply) if is_object(text)) == '{"a": "}{"}'


def test_of_braces_in_a_sentence_the_last_ones_count() -> None:
    assert '{"a": 1}' in list(extract_json('Of {1, 2} I choose {"a": 1}.'))


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "line",
    [
        "W[0] = -1.0",
        "scale(5.0)",
        "W or scale(5.0)",
        "W if scale(5.0) else 1",
        "- scale(5.0)",
        "if True: scale(5.0)",
        "[0 for W[0] in [5.0]]",
        "scale(f'a b')",
        "assert scale(5)",
        "del W[0]",
        "W.reverse()",
        "(W)[0] = 1.0",
        "scale (5)  # in all",
    ],
)
def test_code_behind_the_last_function_of_a_reply_without_a_fence_is_kept(line: str) -> None:
    code = f"def tfcaf(state):\n    return state, state\n\n{line}"
    assert line in extract_code(f"{code}\nThis is what I would do.\n\nNotes:\n- It's short.\n")


def test_prose_behind_a_reply_without_a_fence_is_left_out() -> None:
    code = "def tfcaf(state):\n    return state, state\n"
    said = "The agents in the grid share.\n`state` is left.\n**Note**\n1. Two words.\nDone."
    assert extract_code(f"{code}\n{said}\n") == code
