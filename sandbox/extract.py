"""Find the answer in a model's reply. Plain text work: nothing is parsed or executed here."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence

MAX_SOURCE_BYTES = 20_000

_BOM = "\ufeff"
_NAMES = r"(?:think|thinking|thought|reasoning)"
_THOUGHT = re.compile(rf"^[ \t]*(?:<{_NAMES}>|\[THINK\])", re.MULTILINE | re.IGNORECASE)
_THOUGHT_ENDS = re.compile(rf"</{_NAMES}>|\[/THINK\]", re.IGNORECASE)
_FENCES = ("```", "~~~")
_ENTRY = "def tfcaf("
_STARTS = ("def ", "import ", "from ", "@", "#", '"""', "'''", 'r"""')
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\s*(:[^=]*)?=(?!=)")
_QUOTE = re.compile("[\"'#]")
_TWO_WORDS = re.compile(r"(?<![\w.])([^\W\d]\w*) +(?=([^\W\d]\w*))")
_NAME_AT_END = re.compile(r"(?<!\w)([^\W\d]\w*)$")
_HEADING = re.compile(r"([^\W\d]\w*)[.:!]\s*")
_PREFIXES = set("b br f fr r rb rf rt t tr u".split())  # of a string
_QUOTED = re.compile(
    r'''\\.|"""|\'\'\'|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|#.*''',
)
_CLOSING = {quote: re.compile(rf"\\.|{quote}") for quote in ('"""', "'''")}


def answer_of(reply: str) -> str:
    """A reply without what the model thought before its answer; empty where it only thought.

    Thoughts end at the last ``</think>`` (or its like). Those that never end, since the reply was
    cut off in the middle, hold no answer: what they hold may have been discarded a line later.
    """
    reply = reply.removeprefix(_BOM)
    ends = list(_THOUGHT_ENDS.finditer(reply))
    begins = _THOUGHT.search(reply)
    if ends and reply[ends[-1].end() :].strip():
        reply = reply[ends[-1].end() :]
        begins = _THOUGHT.search(reply)
    elif ends and begins is None:
        return reply[: ends[-1].start()]  # a stray end: some models write one after their answer
    return reply[: begins.start()] if begins is not None else reply


def extract_code(reply: str) -> str:
    """The code in a reply: its fenced block, or the reply from its first line of code on.

    With several fenced blocks, the last one that defines ``tfcaf`` counts, or else the last one
    that defines any function: models often show a fragment first and the whole function at the
    end, or try it out after that. An unclosed fence (a reply that was cut off) runs to the end of
    the text. A fence inside a string of three quotes belongs to the code.
    """
    lines = answer_of(reply).replace("\r\n", "\n").split("\n")
    blocks = _blocks(lines)
    defining = [b for b in blocks if any(line.lstrip().startswith("def ") for line in b)]
    named = [b for b in defining if any(line.lstrip().startswith(_ENTRY) for line in b)]
    if defining:
        return _dedent((named or defining)[-1])
    if blocks and not any(line.startswith("def ") for line in lines):
        return _dedent(blocks[-1])
    start = next((i for i, line in enumerate(lines) if _is_code(line)), 0)
    end = next((i + 1 for i in range(len(lines) - 1, start, -1) if not _is_prose(lines[i])), start)
    end = end if end > start else len(lines)
    has_def = any(line.startswith("def ") for line in lines)
    return "\n".join(lines[start:end] if has_def else lines).strip("\n") + "\n"


def extract_json(reply: str) -> Iterator[str]:
    """What may be the JSON object in a reply, the likeliest first: the whole answer, its fenced
    blocks from the last to the first, and what stands between braces with prose around it."""
    answer = answer_of(reply).strip()
    yield answer
    for block in reversed(_blocks(answer.split("\n"))):
        yield "\n".join(block).strip()
    end = answer.rfind("}") + 1
    for begin in (answer.find("{", 0, end), answer.rfind("{", 0, end)):
        if begin >= 0:
            yield answer[begin:end]


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """The fenced blocks of a text; the last one may have no end."""
    blocks: list[list[str]] = []
    after = 0
    inside = False
    for at in [*_fences(lines), len(lines)]:
        if inside:
            blocks.append(list(lines[after:at]))
        inside, after = not inside, at + 1
    return blocks


def _fences(lines: Sequence[str]) -> list[int]:
    """The lines that open or close a block.

    Quotes are followed inside of blocks, and outside from the first line of code on. Where a
    string is never closed, it is taken for no string: every fence after its beginning counts.
    """
    found: list[int] = []
    quote, opened, inside, code = "", 0, False, False
    for at, line in enumerate(lines):
        if not quote and line.lstrip().startswith(_FENCES):
            found.append(at)
            inside, code = not inside, False
            continue
        code = code or inside or line.startswith(_STARTS)
        if code:
            before, quote = quote, _quote_after(line, quote)
            opened = at if quote and not before else opened
    if quote:
        after = range(opened + 1, len(lines))
        found += [at for at in after if lines[at].lstrip().startswith(_FENCES)]
    return found


def _quote_after(line: str, quote: str) -> str:
    """The three quotes of the string that is open at the end of a line, if any.

    Args:
        line: Of Python.
        quote: Those of the string that is open at its beginning.
    """
    at = 0
    while True:
        found = (_CLOSING[quote] if quote else _QUOTED).search(line, at)
        if found is None:
            return quote
        at = found.end()
        if found[0] in _CLOSING:
            quote = "" if quote else found[0]


def _is_code(line: str) -> bool:
    return line.startswith(_STARTS) or _ASSIGNMENT.match(line) is not None


def _is_prose(line: str) -> bool:
    """Whether a line is surely no Python, in which no two names follow one another."""
    if not line.strip() or line.startswith(("`", "**", ">")):
        return True
    if line.startswith((" ", "\t")):
        return False
    quote = _QUOTE.search(line)
    text = line[: quote.start()] if quote else line
    for pair in _TWO_WORDS.finditer(text):
        first, second = pair.groups()
        soft = not pair.start() and keyword.issoftkeyword(first)
        if not (keyword.iskeyword(first) or keyword.iskeyword(second) or soft):
            return True
    # A name that a quote follows, as in "it's", and a heading.
    ends = _NAME_AT_END.search(text) if quote and quote[0] == "'" else _HEADING.fullmatch(text)
    if ends is None or keyword.iskeyword(ends[1]):
        return False
    return not (quote and ends[1].lower() in _PREFIXES)


def _dedent(lines: Sequence[str]) -> str:
    margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    cut = min(margins, default=0)
    return "\n".join(line[cut:] for line in lines).strip("\n").removeprefix(_BOM) + "\n"


def quote_line(code: str, line: int | None) -> str:
    """``line 3: `w = x`"`` for feedback, or an empty text.

    Lone surrogates, which no file or socket takes, are written as ``\\udXXX``.
    """
    if line is None:
        return ""
    lines = code.split("\n")
    text = lines[line - 1].strip() if 1 <= line <= len(lines) else ""
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"line {line}: `{text[:160]}`" if text else f"line {line}"
