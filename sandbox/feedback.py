"""Say what is wrong with a candidate so that its author, often a small model, can mend it."""

from __future__ import annotations

import contextlib
import re
import tokenize
from collections.abc import Sequence

from prompts.cards import TaskCard
from sandbox.claims import PropertyResult
from sandbox.extract import quote_line
from sandbox.findings import ABOUT_SIZES

_REMEDY = {
    "finite": "Never divide by what may be zero, take logs or roots of what may be negative, or "
    "let exponents grow: add a positive constant, or use torch.clamp before it.",
    "finite_gradient": "Keep the argument of sqrt, log, pow and norm away from zero, also in the "
    "branch that torch.where does not choose.",
    "deterministic": "Use nothing random and no uninitialised memory.",
    "row_independent": "Every row of the batch is a different moment: never sum, average, sort or "
    "normalise over dimension 0, and give every mean, sum, std, max and softmax a dim=1.",
    "monotone": "Under the IGM gate q_tot must not fall when an agent's Q rises: multiply each "
    "agent's Q by a weight that is computed from state alone and never negative, or return "
    "(weights, bias) from a function of state alone. Where large terms in a Q cancel "
    "(`1000.5 * q - 1000 * q`), float32 rounds away what is left: write the small term itself.",
    "greedy_is_best": "Under the IGM gate the agents' own best actions must be the team's best: "
    "keep q_tot non-decreasing in every agent's Q.",
    "someone_credited": "q_tot must depend on agent_qs: give at least one agent a non-zero weight "
    "in some state.",
}

_MANY_CHOICES = (
    "Nothing divides or takes a root here, but values pass through many operations one after "
    "another, and the bound on the gradient doubles wherever one is used twice "
    "(`x = torch.where(c, 2 * x, x)` in a loop): choose factors from the state alone and multiply "
    "each Q once."
)
"""In place of the remedy for an unproved gradient, where no line looks like a pole or a root."""

_RISKY = (
    r"/(?!\s*[\d.])|\*\*(?!\s*[2-9]\b)|"
    r"\b(log\w*|r?sqrt|exp\w*|pow|std|var|reciprocal|norm|acos|asin|tan|sinh|cosh)\s*\("
)
_SUSPECTS = {
    "finite": re.compile(_RISKY),
    "finite_gradient": re.compile(_RISKY),
    "row_independent": re.compile(
        r"\b(dim|axis)\s*=\s*0\b|"
        r"(\.|\b)(sum|mean|std|var|max|min|amax|amin|median|norm|sort)\(\s*(0\s*)?\)|"
        r"\btorch\.(sum|mean|std|var|max|min|norm|softmax|sort|cumsum)\(\s*[\w.]+\s*(,\s*0\s*)?\)"
    ),
}
"""What a line often holds that breaks the property."""
_MOST_SUSPECTS = 3

_UNBOUNDED = (
    (
        r"\binf\b|\bisinf\b",
        "An infinite number stands in it, which is bounded by nothing afterwards: mark what is not "
        "there with a large number instead, such as 1e3.",
    ),
    (
        r"/\s*\(.*-.*\+\s*1e-\d+\s*\)",
        "A divisor such as `high - low + 1e-6` is not shown to be positive: write "
        "`(high - low).clamp(min=1e-6)`.",
    ),
)
"""(pattern of a line, what to write) where no bound on a value is found."""

PROVED_FORMS: tuple[tuple[str, str, str], ...] = (
    (r"\blog(1p)?\s*\(.*\bexp\s*\(", "log(1 + exp(x))", "F.softplus(x)"),
    (
        r"\bsign\s*\(",
        "sign(x) * log1p(x.abs()), and other odd functions,",
        "torch.where(x > 0, torch.log1p(x.clamp(min=0)), -torch.log1p((-x).clamp(min=0)))",
    ),
    (
        r"/\s*\(\s*1(\.0*)?\s*\+.*\babs\b|\bsoftsign\b",
        "x / (1 + x.abs())",
        "torch.where(x > 0, 1 - 1 / (1 + x.clamp(min=0)), 1 / (1 + (-x).clamp(min=0)) - 1)",
    ),
    (
        r"(?s)(softmax.*\b1(\.0*)?\s*-\s*[\w(])|(\b1(\.0*)?\s*-[^\n]*softmax)",
        "1 - torch.softmax(x, dim=1), which rounding may take just below 0,",
        "(1 - torch.softmax(x, dim=1)).clamp(min=0)",
    ),
)
"""Monotone in a form that is not proved: its pattern, what it is, and the form that is proved."""

_CUT = (
    "close it, or, if the code ends before it is finished, write the whole function and write it "
    "shorter"
)
_INDENT = "indent the body of the function with four spaces and no tabs, all lines of it alike"
_LINED_UP = re.compile(r"; (for every pair )?write `")
"""In a message that says how operands are lined up (`sandbox.operands`)."""
_UNFIT = (
    "the shapes do not fit; multiply [B, n] by [B, n] with `*` and sum over dim=1, and use "
    "unsqueeze to line dimensions up"
)
_NUMBER_LEFT = (
    "a plain number may not stand on the left of `//` and `%`; write it as a tensor: "
    "`torch.full_like(x, 10) // x`"
)
_HINTS: tuple[tuple[str, str, str], ...] = (
    ("policy.syntax", r"never closed|unterminated|unexpected EOF", _CUT),
    ("policy.syntax", r"indent|tabs", _INDENT),
    ("policy.syntax", r"invalid (non-printable )?character", "write plain ASCII: \" ' and -"),
    (
        "policy.syntax",
        r"error: invalid syntax$",
        "the code must be plain Python alone: no sentences, line numbers or marks among it",
    ),
    (
        "export.error",
        r"name '\w+' is not defined",
        "a function is given its arguments alone: compute it from them (B is state.shape[0]), "
        "write the number itself, or define it above in the same block of code",
    ),
    (
        "export.error",
        r"return_types",
        "max, min, sort and topk with a dim give (values, indices): add `.values`, or use amax or "
        "amin",
    ),
    ("policy.detach", r"^gradients", "use the tensor itself, without detach or torch.tensor(...)"),
    ("export.error", r"used as indices", "convert indices with `.long()`"),
    (
        "export.error",
        r"invalid for input of size",
        "the sizes must multiply to the number of values; let the first size be -1, never a fixed "
        "number of rows",
    ),
    (
        "export.error",
        r"reduction dim|must match the size|not broadcastable|mat1 and mat2|batch2? tensor",
        _UNFIT,
    ),
    (
        "graph.operation",
        r"aten\.round\.decimals",
        "round takes no decimals here: write `torch.round(10 * x) / 10`",
    ),
    ("graph.arguments", r"'self' must be a tensor", _NUMBER_LEFT),
    ("graph.operation", r"\.Scalar_Tensor", _NUMBER_LEFT),
    (
        "export.eager",
        r"Class values must be",
        "one_hot takes integers from 0 to num_classes - 1: bring special values such as -1 into "
        "that range first, with `.clamp(min=0)`, and treat them apart with torch.where",
    ),
)
"""(rule, pattern of the message, what to do) for messages that do not say it themselves."""
_JOINED = re.compile(r"\b(and|or|not)\b|[<>]=?[^<>]*[^<>\s-]\s*[<>]")
_JOIN = (
    "join conditions on tensors with `&`, `|` and `~`, each in brackets: `(a > 0) & (b > 0)`, "
    "not `and`, `or`, `not` or `0 < a < 1`"
)
_READS_STATE = re.compile(r"\bstate\b")
_SIZED = ("export.error", "export.eager", "export.shape", "export.index")


def for_findings(code: str, findings: Sequence[tuple[str, str, int | None]], card: TaskCard) -> str:
    """Text for what the policy, the export or the graph reader refused."""
    lines = ["The function was rejected before it could be tested."]
    places: dict[tuple[str, str], list[int | None]] = {}
    for rule, message, line in findings:
        seen = places.setdefault((rule, message), [])
        if line not in seen:
            seen.append(line)
    for (rule, message), found in places.items():
        where = quote_line(code, found[0])
        others = ", ".join(str(line) for line in found[1:])
        also = f" (and line {others})" if others else ""
        hint = _hint(rule, message, where)
        lines.append(
            f"- [{rule}] {where}{also}{': ' if where else ''}{message}{'; ' + hint if hint else ''}"
        )
    sized = any(rule in _SIZED and ABOUT_SIZES.search(said) for rule, said in places)
    if sized and _READS_STATE.search(code):
        lines.append(
            f"Here `state` is [B, {card.state_dim}] and `agent_qs` is [B, {card.n_agents}]; "
            "columns count from 0, and B may be any number of rows."
        )
    return "\n".join(lines)


def _hint(rule: str, message: str, where: str) -> str:
    if rule == "export.branch" and "Python branch" in message and _JOINED.search(where):
        return _JOIN
    hint = next((h for r, pattern, h in _HINTS if r == rule and re.search(pattern, message)), "")
    return "" if hint is _UNFIT and _LINED_UP.search(message) else hint


def for_properties(
    properties: Sequence[PropertyResult], code: str, notes: Sequence[str] = ()
) -> str:
    """Text for what the property suite found; warnings are for accepted functions only.

    Args:
        properties: what was found.
        code: the source.
        notes: what was read as meant.
    """
    failures = [p for p in properties if p.status == "fail"]
    warnings = [p for p in properties if p.status == "warn"]
    if any(p.name == "monotone" for p in failures):
        failures = [p for p in failures if p.name != "greedy_is_best"]  # it has the same cause
    lines = [f"Taken as meant: {'; '.join(notes)}."] if notes else []
    if failures:
        lines.append("The function runs, but it breaks a property that it must have.")
    for p in failures:
        lines.append(f"- [{p.name}] {p.counterexample or p.detail}")
        remedy = _REMEDY.get(p.name)
        if remedy:
            lines.append(f"  {remedy}")
        suspects = _suspects(p.name, code)
        if suspects:
            lines.append(f"  Look first at {'; '.join(suspects)}")
    if warnings and not failures:  # beside a failure they distract, or are a part of it
        lines.append("Worth a thought (no reason to reject):")
        lines += [f"- [{p.name}] {p.counterexample or p.detail}" for p in warnings]
    return "\n".join(lines)


def for_unproved(names: Sequence[str], code: str) -> str:
    """Text for a function that only proofs could save (``sandbox.require_proofs``)."""
    lines = [
        "No input was found that breaks the function, but what it must have could not be proved, "
        "and only proved functions are accepted here (sandbox.require_proofs)."
    ]
    for name in names:
        suspects = _suspects(name, code)
        deep = name == "finite_gradient" and not suspects
        lines += [f"- [{name}] not proved", f"  {_MANY_CHOICES if deep else _REMEDY[name]}"]
        lines += [f"  Look first at {'; '.join(suspects)}"] if suspects else []
        for pattern, remedy in _UNBOUNDED if name == "finite" else ():
            if re.search(pattern, code):
                lines.append(f"  {remedy}")
        bare = "".join(_bare(code))
        for pattern, form, proved in PROVED_FORMS if name == "monotone" else ():
            if re.search(pattern, bare):
                lines.append(f"  {form} can be proved as `{proved}`.")
    return "\n".join(lines)


def _suspects(name: str, code: str) -> list[str]:
    """The lines that a failure most likely comes from, quoted; a guess from their text."""
    pattern = _SUSPECTS.get(name)
    if pattern is None:
        return []
    found = [at for at, text in enumerate(_bare(code), 1) if pattern.search(text)]
    return [quote_line(code, at) for at in found[:_MOST_SUSPECTS]]


def _bare(code: str) -> list[str]:
    """The lines of a source with comments and strings cut out, as far as it can be read."""
    lines = [f"{text}\n" for text in code.split("\n")]
    said = (tokenize.COMMENT, tokenize.STRING)
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type not in said:
                continue
            (first, start), (last, end) = token.start, token.end
            for at in range(first, last + 1):
                text = lines[at - 1]
                left = text[:start] if at == first else ""
                lines[at - 1] = left + (text[end:] if at == last else "\n")
    return lines
