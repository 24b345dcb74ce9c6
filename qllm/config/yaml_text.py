"""YAML as people expect it: ``3e-4`` is a number, ``on`` and ``no`` are words.

PyYAML reads YAML 1.1, where ``3e-4`` is a string, ``no`` is false, ``0123`` is octal and ``1:30``
is ninety. This loader resolves plain scalars as YAML 1.2's core schema does.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first, ""]
    )


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 16) if text.lower().startswith("0x") else int(text)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is no name", key_node.start_mark
            )
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"'{key}' appears twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        ValueError: it is no YAML; the message is one line, with the place.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"{error.problem or error.context}{place}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def dump(data: Any) -> str:
    """YAML that :func:`parse` reads back as the same value."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def dump_inline(data: Any) -> str:
    """A value on one line, as one would write it on the command line."""
    text = yaml.dump(data, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**6)
    return " ".join(text.removesuffix("...\n").split())


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either version of YAML would take for something other than text."""


_resolvers = _Loader.yaml_implicit_resolvers, yaml.SafeDumper.yaml_implicit_resolvers
_Dumper.yaml_implicit_resolvers = {
    first: [rule for resolvers in _resolvers for rule in resolvers.get(first, [])]
    for first in {key for resolvers in _resolvers for key in resolvers}
}


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    # repr round-trips; with a point in it, readers of YAML 1.1 take 1.0e-05 for a number, too.
    text = repr(value).replace("inf", ".inf").replace("nan", ".nan")
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)
