"""Whatever the source: it is compiled, or refused with findings, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.extract import extract_code
from sandbox.findings import PolicyError
from sandbox.policy import CheckedSource, check_source

_FOLDER = Path(__file__).resolve().parents[2] / "bench" / "functions"
SOURCES = [p.read_text(encoding="utf-8") for p in sorted(_FOLDER.rglob("*.py"))]
WORDS = [
    "while True:", "lambda: 0", "__class__", "import os", "(", ")", "[", "]", "{", "}", ":=", "*",
    "**", "async", "await", "yield", "class A:", "with x:", "try:", "except:", "match x:", "_", "@",
    "f'{x}'", "'%s' % x", "global state", "nonlocal x", "del x", "\x00", "\ufeff", "\u202e", "\r",
    "\t", "é", "0x", "1e999", "9" * 50, "state.item()", "torch.load('x')", "return", "def f(q):",
    "if state:", "for i in range(10):", "a[0] += 1", "x: int = 1", "...", ";", "\\", '"""', "#",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good source with lines moved about and words thrown in."""
    lines = draw(st.sampled_from(SOURCES)).split("\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                lines.pop(at)
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(st.sampled_from(WORDS)) + lines[at][cut:]
            case 3:
                lines[at] = lines[at][draw(st.integers(0, 8)) :]
            case _:
                lines.insert(at, " " * draw(st.integers(0, 8)) + draw(st.sampled_from(WORDS)))
        lines = lines or [""]
    return "\n".join(lines)


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.one_of(damaged(), st.text(max_size=200)))
def test_any_source_is_compiled_or_refused_with_findings(source: str) -> None:
    findings, checked = None, None
    try:
        checked = check_source(extract_code(source))
    except PolicyError as error:
        findings = error.findings
    if findings is not None:
        assert 0 < len(findings) <= 10
        assert all(f.rule.startswith("policy.") and f.message for f in findings)
    else:
        assert isinstance(checked, CheckedSource)
        assert set(checked.parameters) <= {"agent_qs", "state"}
