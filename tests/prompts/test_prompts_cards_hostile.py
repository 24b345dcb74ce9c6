"""Cards' files that would take all time or memory: refused in one line, and fast."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompts.bounded_yaml import MAX_VALUES, parse_yaml
from prompts.cards import CardError, load_card
from prompts.expansion import MAX_BYTES


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 5


def short(text: str) -> str:
    """A test's name."""
    return "".join(char if char.isalnum() else "-" for char in text[:24])


def laughs(levels: int, width: int) -> str:
    """Each line repeats the one before it, all in a handful of bytes."""
    lines = ["a0: &a0 x"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(10, 9), "line 6, column 5: more than 50,000 values"),
        (laughs(100, 1), "nested more than 32 levels deep"),
        ("a: &a [*a]", r"'\*a' is a part of itself"),
        ("a: &a {b: {c: *a}}", r"'\*a' is a part of itself"),
        ("a: " + "[" * 100_000, "nested more than 32 levels"),
        ("a: " + "{b: " * 50_000, "nested more than 32 levels"),
        ("\n".join(" " * i + "a:" for i in range(400)), "nested more than 32 levels"),
        ("a: [" + "1," * (MAX_VALUES + 9), "more than 50,000 values"),
        ("a: &a {k: 1}\nb: {<<: [" + "*a, " * 30_000 + "]}", "more than 50,000 values"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' appears twice"),
        ("a: {b: 1, b: 1}", "'b' appears twice"),
        ("a: 1" + ":00" * 80_000, "a number of 240,001 characters"),
        ("a: " + "9" * 5_000, "a number of 5,000 characters"),
        ("a: 2024-13-45", "'2024-13-45' is no timestamp"),
        ("? [a]\n: 1", "a key must be a name"),
    ],
    ids=short,
)
def test_yaml_without_end_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=said) as caught:
        load_card(str(path))
    assert str(caught.value).startswith(f"card '{path}': ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_aliases_that_stay_small_are_read() -> None:
    read = parse_yaml("a: &a {low: 0, high: 1}\nb: {<<: *a, high: 2}\nc: [*a, *a]")
    assert read["b"] == {"low": 0, "high": 2}
    assert read["c"] == [read["a"]] * 2


def test_a_file_that_is_none_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe, link, listening = (tmp_path / f"{name}.yaml" for name in ("pipe", "link", "socket"))
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for path in (pipe, link, listening):
            with pytest.raises(CardError, match="no regular file"):
                load_card(str(path))
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(CardError, match="Too many levels of symbolic links"):
        load_card(str(loop))
    with pytest.raises(CardError, match="Is a directory"):
        load_card(str(tmp_path.rename(tmp_path.with_name("folder.yaml"))))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 5_000 + ".yaml", "File name too long"),
        ("a\0b.yaml", "null character"),
        ("a\nb.yaml", "no card at 'a"),
    ],
)
def test_a_name_that_can_be_no_file_is_refused(name: str, said: str) -> None:
    with pytest.raises(CardError, match=said) as caught:
        load_card(name)
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # all holes
    with pytest.raises(CardError, match="larger than 262,144 bytes"):
        load_card(str(path))
    path.write_bytes(b"title: \xff")
    with pytest.raises(CardError, match="byte 7 is no UTF-8 text"):
        load_card(str(path))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in range(10**12) %}{% endfor %}", "'pow' is not understood"),
        ("{% for i in range(1000000) %}{% endfor %}", "more than 10,000 numbers together"),
        (
            "{% for i in range(99) %}{% for j in range(999) %}{% endfor %}{% endfor %}",
            "more than 10,000 numbers together",
        ),
        ("{{ 'x' * 10000000000 }}", "needs numbers"),
        ("{{ '%9999999999d' % 1 }}", "needs numbers"),
        ("{{ 'x'|center(10000000000) }}", "'center' is not understood"),
        ("{{ 1|round(999999999) }}", "'round' is not understood"),
        ("{% set x = 99999 %}" + "{% set x = x * x %}" * 60, "a number beyond 1e"),
        ("{% set x = 'ab' %}" + "{% set x = x ~ x %}" * 60, "'concat' is not understood"),
        ("{% set x = [1, 1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}", "'list' is not und"),
        ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "'f' is not understood"),
        ("{% include 'own.yaml.j2' %}", "'include' is not understood"),
        ("{{ " + "(" * 9_000 + "1" + ")" * 9_000 + " }}", "nested too deeply"),
        ("{% for i in range(9999) %}" + "x" * 1_000 + "{% endfor %}", "more than 262,144 char"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'a' - 1 }}", "a - 1: needs numbers"),
        ("{% if %}", "line 1: Expected an expression"),
    ],
    ids=short,
)
def test_a_template_without_end_is_refused(tmp_path: Path, template: str, said: str) -> None:
    assert len(template) < MAX_BYTES
    (tmp_path / "own.yaml.j2").write_text(template)
    path = tmp_path / "mine.yaml"
    path.write_text("template: own")
    with pytest.raises(CardError, match=f"template 'own': .*{said}") as caught:
        load_card(str(path))
    assert "\n" not in str(caught.value)
