"""``docs/configuration.md``, written from the settings themselves."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from qllm.config import yaml_text
from qllm.config.keys import Key, group, members, walk
from qllm.config.tree import RunConfig

_HEAD = """\
# Configuration

One tree of settings drives every command. It is put together in four layers, a later one winning:

1. the defaults below,
2. a preset for the kind of task ([presets.md](presets.md)): `equal` unless you choose another,
3. a YAML file: `--config FILE`,
4. the command line: options such as `--steps`, and any setting as `key=value`.

```
qllm train matrix/climbing --algo qmix algorithm.mixing_dim=64 learner.lr=3e-4 env.observe=joint
```

Values are YAML; numbers may also be typed as `20k`, `2M` or `1e6`, seeds as `0-4`. An unknown key
or a value that is not allowed is refused with the nearest key that exists. Changing `algorithm`
drops what a lower layer had set beside the old name. The resolved configuration of every run is
kept in its folder as `config.yaml` and can be fed back: `qllm train --config runs/7/config.yaml`.

With several algorithms (`compare`, `run`), `algorithm.KEY=VALUE` on the command line counts for
every compared algorithm that has this setting; in a file, `algorithms` takes a list of names or of
groups such as `{name: qmix, mixing_dim: 64}`.

This page is written from the settings themselves (`python -m qllm.config.reference`).
"""


SPELLED = {
    "seeds": "integers from 0 with commas, such as 0,1,2, or a range, such as 0-4",
    "algorithms": "names with commas, such as vdn,qmix,qllm",
    "log": "names with commas, such as jsonl,tensorboard",
}
"""What a list may be that can be written with commas."""


def allowed_words(path: str, field: FieldInfo) -> str:
    """What a setting may be, for the end of ``must be``: ``an integer, at least 1``."""
    words = SPELLED.get(path) or value_words(field.annotation, field)
    words = words.replace("`", "").replace(" \\| null", ", or null").replace(" \\| ", " or ")
    for noun, article in (("integer", "an"), ("number", "a"), ("list", "a")):
        if re.match(rf"{noun}\b", words):
            return f"{article} {words}"
    return words


def value_words(annotation: Any, field: FieldInfo) -> str:
    """What a setting may be, as markdown for a table: ``integer, at least 1``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return value_words(typing.get_args(annotation)[0], field)
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in typing.get_args(annotation))
    if origin in (typing.Union, UnionType):
        kinds = [value_words(a, field) for a in typing.get_args(annotation) if a is not NoneType]
        empty = " \\| `null`" if NoneType in typing.get_args(annotation) else ""
        return " \\| ".join(kinds) + empty
    if origin is tuple:
        item = typing.get_args(annotation)[0]
        return "list of algorithms" if members(item) else f"list of {value_words(item, field)}"
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


def _section(name: str, field: FieldInfo, model: type[BaseModel]) -> str:
    said = (field.description or "").rstrip(".")
    return f"## `{name}`: {said}\n\n{_rows(walk(model, f'{name}.'))}\n"


def reference() -> str:
    """The text of ``docs/configuration.md``."""
    parts = [_HEAD]
    fields = RunConfig.model_fields
    top = [
        Key(n, f)
        for n, f in fields.items()
        if not members(f.annotation) and not group(f.annotation)
    ]
    ahead = ["task", "seeds", "steps"]
    first = sorted(top, key=lambda key: ahead.index(key.path) if key.path in ahead else len(ahead))
    parts.append(f"## At the top\n\n{_rows(first)}\n")
    for name, field in fields.items():
        nested = group(field.annotation)
        if nested is not None:
            parts.append(_section(name, field, nested))
        for member, model in members(field.annotation).items():
            summary = model.model_fields["name"].description
            keys = [key for key in walk(model, f"{name}.") if key.path != f"{name}.name"]
            table = f"\n{_rows(keys)}\n" if keys else "\nIt has no settings of its own.\n"
            parts.append(f"## `{name}={member}`: {summary}\n{table}")
    return "\n".join(parts)


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/configuration.md").write_text(reference(), encoding="utf-8")
