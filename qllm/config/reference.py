"""The tables of ``docs/configuration.md``, written from the settings themselves."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from qllm.config import yaml_text
from qllm.config.keys import Key, group, union, walk
from qllm.config.tree import RunConfig

_MARK = "The tables are written from the settings themselves (`python -m qllm.config.reference`).\n"
"""Stands in the page before them."""

SPELLED = {
    "seeds": "integers from 0 with commas, such as 0,1,2, or a range, such as 0-4",
    "algorithms": "names with commas, such as vdn,qmix,qllm",
    "log": "names with commas, such as jsonl,wandb",
}
"""What a list may be that can be written with commas."""


def allowed_words(path: str, field: FieldInfo) -> str:
    """Allowed values of a setting, to follow ``must be``: ``an integer, at least 1``."""
    words = SPELLED.get(path) or value_words(field.annotation, field)
    words = words.replace("`", "").replace(" \\| null", ", or null").replace(" \\| ", " or ")
    for noun, article in (("integer", "an"), ("number", "a"), ("list", "a")):
        if re.match(rf"{noun}\b", words):
            return f"{article} {words}"
    return words


def value_words(annotation: Any, field: FieldInfo) -> str:
    """Allowed values of a setting, as markdown for a table: ``integer, at least 1``."""
    origin = typing.get_origin(annotation)
    if origin is dict:
        return "settings by name"
    if origin is typing.Annotated:
        return value_words(typing.get_args(annotation)[0], field)
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in typing.get_args(annotation))
    if origin in (typing.Union, UnionType):
        kinds = [value_words(a, field) for a in typing.get_args(annotation) if a is not NoneType]
        empty = " \\| `null`" if NoneType in typing.get_args(annotation) else ""
        return " \\| ".join(kinds) + empty
    if origin is tuple:
        return f"list of {value_words(typing.get_args(annotation)[0], field)}"
    names = {int: "integer", float: "number", str: "text", bool: "`true` \\| `false`"}
    return names[annotation] + _bounds(field.metadata)


def _bounds(metadata: Iterable[Any]) -> str:
    parts = []
    for rule in metadata:
        match rule:
            case Ge(ge=value) if value is not None:
                parts.append(f"at least {value}")
            case Gt(gt=value) if value is not None:
                parts.append(f"above {value}")
            case Le(le=value) if value is not None:
                parts.append(f"at most {value}")
            case Lt(lt=value) if value is not None:
                parts.append(f"below {value}")
            case MinLen() | _:
                continue
    return ", " + ", ".join(parts) if parts else ""


def default_words(field: FieldInfo) -> str:
    """A setting's default as one would write it, in backticks, or ``(required)``."""
    if field.is_required():
        return "(required)"
    value = field.default
    return f"`{yaml_text.dump_inline(list(value) if isinstance(value, tuple) else value)}`"


def _rows(keys: Iterable[Key]) -> str:
    lines = ["| setting | value | default | what it does |", "|---|---|---|---|"]
    for key in keys:
        said = " ".join((key.field.description or "").split()).replace("|", "\\|")
        kind = value_words(key.field.annotation, key.field)
        lines.append(f"| `{key.path}` | {kind} | {default_words(key.field)} | {said} |")
    return "\n".join(lines)


def _section(title: str, about: str | None, keys: Sequence[Key]) -> str:
    table = _rows(keys) if keys else "It has no settings of its own."
    return f"## {title}: {(about or '').rstrip('.')}\n\n{table}\n"


def _sections(name: str, field: FieldInfo) -> Iterator[str]:
    """What is below a setting: a group, or what a union's members share and have of their own."""
    members, nested = union(field.annotation), group(field.annotation)
    if nested is not None:
        yield _section(f"`{name}`", field.description, list(walk(nested, f"{name}.")))
    if members is None:
        return
    tag = f"{name}.{members.tag}"
    shared = [key for key in walk(members.shared, f"{name}.") if key.path != tag]
    if shared:
        yield _section(f"`{name}`", field.description, shared)
    for member, model in members.models.items():
        special = {f"{name}.{key}" for key in members.special(member)}
        keys = [key for key in walk(model, f"{name}.") if key.path in special]
        title = f"`{name}` of {members.noun}{member}" if members.noun else f"`{name}={member}`"
        if keys or not shared:
            yield _section(title, model.model_fields[members.tag].description, keys)


def reference(page: str) -> str:
    """``docs/configuration.md`` with its tables regenerated."""
    parts = [page.partition(_MARK)[0] + _MARK]
    fields = RunConfig.model_fields
    top = [
        Key(n, f)
        for n, f in fields.items()
        if union(f.annotation) is None and group(f.annotation) is None
    ]
    ahead = ["task", "seeds", "steps"]
    first = sorted(top, key=lambda key: ahead.index(key.path) if key.path in ahead else len(ahead))
    parts.append(f"## At the top\n\n{_rows(first)}\n")
    for name, field in fields.items():
        parts += _sections(name, field)
    return "\n".join(parts)


if __name__ == "__main__":
    from pathlib import Path

    page = Path("docs/configuration.md")
    page.write_text(reference(page.read_text(encoding="utf-8")), encoding="utf-8")
