"""Find the Python in a model's reply. Plain text work: nothing is parsed or executed here."""

from __future__ import annotations

import re

MAX_SOURCE_BYTES = 20_000

_THOUGHT = "</think>"
_ENTRY = "def tfcaf("
_STARTS = ("def ", "import ", "from ", "@", "#", '"""', "'''", 'r"""')
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\s*(:[^=]*)?=(?!=)")


def extract_code(reply: str) -> str:
    """The code in a reply: its fenced block, or the reply from its first line of code on.

    With several fenced blocks, the last one that defines ``tfcaf`` counts, or else the last one
    that defines any function: models often show a fragment first and the whole function at the
    end, or try it out after that. An unclosed fence (a reply that was cut off) runs to the end of
    the text. What a model thought before its answer is left out.
    """
    answer = reply.rpartition(_THOUGHT)[2]
    if "def " in answer:
        reply = answer
    blocks: list[list[str]] = []
    inside: list[str] | None = None
    for line in reply.replace("\r\n", "\n").split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            if inside is None:
                inside = []
            else:
                blocks.append(inside)
                inside = None
        elif inside is not None:
            inside.append(line)
    if inside is not None:
        blocks.append(inside)
    defining = [b for b in blocks if any(line.lstrip().startswith("def ") for line in b)]
    named = [b for b in defining if any(line.lstrip().startswith(_ENTRY) for line in b)]
    if defining:
        return _dedent((named or defining)[-1])
    if blocks and not any(line.startswith("def ") for line in reply.split("\n")):
        return _dedent(blocks[-1])
    lines = reply.split("\n")
    start = next((i for i, line in enumerate(lines) if _is_code(line)), 0)
    end = len(lines)
    for i in range(len(lines) - 1, start, -1):
        if lines[i].startswith((" ", "\t")) or _is_code(lines[i]):
            end = i + 1
            break
    has_def = any(line.startswith("def ") for line in lines)
    return "\n".join(lines[start:end] if has_def else lines).strip("\n") + "\n"


def _is_code(line: str) -> bool:
    return line.startswith(_STARTS) or _ASSIGNMENT.match(line) is not None


def _dedent(lines: list[str]) -> str:
    margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    cut = min(margins, default=0)
    return "\n".join(line[cut:] for line in lines).strip("\n") + "\n"


def quote_line(code: str, line: int | None) -> str:
    """``line 3: `w = x`"`` for feedback, or an empty text."""
    if line is None:
        return ""
    lines = code.split("\n")
    text = lines[line - 1].strip() if 1 <= line <= len(lines) else ""
    return f"line {line}: `{text[:160]}`" if text else f"line {line}"
