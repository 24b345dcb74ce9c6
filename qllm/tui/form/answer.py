"""Queries of a form to the configuration: available settings, and whether a draft can start."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import BaseModel

from marl.envs.kinds import plays
from marl.settings.base import differing
from marl.settings.registry import ALGORITHMS
from models.protocol import ModelError
from prompts.cards import CardError, list_tasks, load_card, load_listed
from qllm.config import yaml_text
from qllm.config.build import build_config, from_stored
from qllm.config.commands import COMPARED, trained_by
from qllm.config.errors import ConfigError
from qllm.config.keys import Key, union, walk
from qllm.config.layers import COMMAND_LINE, override_layer
from qllm.config.reference import SPELLED, default_words, value_words
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.models import coders
from qllm.jobs.tasks import playable_card
from qllm.tui.form.fields import (
    Checked,
    Command,
    Draft,
    Family,
    Offer,
    Setting,
    Task,
    changed,
)
from synth.coders import AUTO


@cache
def offer() -> Offer:
    """The available settings. Read once: models added later need a restart of the app."""
    by_path: dict[str, list[Key]] = {}
    for key in walk(RunConfig):
        by_path.setdefault(key.path, []).append(key)
    del by_path["task"], by_path["algorithm.name"], by_path["env.kind"]
    settings = [_setting(keys) for keys in by_path.values()]
    one = RunConfig.model_fields["algorithm"]
    settings.append(
        Setting(
            "algorithm",
            "choice",
            one.default.name,
            one.description or "",
            " | ".join(ALGORITHMS),
            tuple(ALGORITHMS),
        )
    )
    return Offer(tuple(settings), tuple(_tasks()))


def _setting(keys: Sequence[Key]) -> Setting:
    field = keys[0].field
    values = value_words(field.annotation, field).replace("`", "").replace("\\|", "|")
    choices = tuple(part.strip() for part in values.split("|"))
    kind: Any = "choice" if len(choices) > 1 and "null" not in choices else "text"
    if choices == ("true", "false"):
        kind = "switch"
    group = union(RunConfig.model_fields[keys[0].path.partition(".")[0]].annotation)
    having = tuple(dict.fromkeys(key.member for key in keys if key.member is not None))
    some = group is not None and len(having) < len(group.models)
    setting = Setting(
        path=keys[0].path,
        kind=kind,
        default=default_words(field).strip("`"),
        about=" ".join((field.description or "").replace("`", "").split()),
        values=values.replace(" | null", ", or null"),
        choices=choices if kind == "choice" else (),
        of=having if some else (),
    )
    if setting.path in SPELLED:
        default = {"algorithms": "", "seeds": "0"}.get(setting.path, setting.default)
        return replace(setting, default=default, values=SPELLED[setting.path])
    if setting.path in ("synth.coder", "synth.evaluator_model"):
        models = _models(setting.path)
        return replace(setting, kind="choice", choices=models, values=" | ".join(models))
    return setting


def _models(path: str) -> tuple[str, ...]:
    try:
        listed = coders()
    except ModelError:
        return (AUTO,)
    return (AUTO, *(c.name for c in listed if c.is_llm or path == "synth.coder"))


def _tasks() -> list[Task]:
    found = []
    for name in list_tasks():
        try:
            card = load_listed(name)
        except CardError:
            continue
        number = name.partition("{")[2].partition("}")[0]
        spec = card.family
        family = Family(number, spec.low, spec.high) if number and spec is not None else None
        title = card.title if family is None else _family_title(name, family)
        found.append(Task(name, title, plays(card), family))
    return found


def _family_title(name: str, family: Family) -> str:
    """The title of the family's last card, with the number's name in the number's place."""
    hole = "{" + family.name + "}"
    title = load_card(name.replace(hole, str(family.high))).title
    return title.replace(str(family.high), family.name)


def check(command: Command, task: str, settings: Sequence[str]) -> Checked:
    """The command line's answer to these words, and the settings as YAML."""
    defaults = _defaults(command, task, settings)
    try:
        given = override_layer(settings, {"task": task or None}).values
    except ConfigError as error:
        return Checked(str(error), "", defaults)
    try:
        if not task:
            raise UsageError("task: choose one, or give the path of a card's file")
        config = _built(command, task, settings, source="")
        playable_card(config)
    except UsageError as error:
        return Checked(str(error), yaml_text.dump(given), defaults)
    return Checked("", yaml_text.dump(_as_read(given, _leaves(config))), defaults)


def _defaults(command: Command, task: str, settings: Sequence[str]) -> dict[str, str]:
    """Defaults of all settings, by path; empty while the task or the preset is unknown."""
    deciding = ("preset", "algorithm", "algorithms", "variants")
    named = [word for word in settings if word.partition("=")[0] in deciding]
    try:
        config = _built(command, task, named)
    except ConfigError:
        return {}
    leaves = _leaves(config)
    for path in ("task", "preset", "algorithm.name", "algorithms", "variants", "env.kind"):
        leaves.pop(path, None)
    return {path: _text(path, value) for path, value in leaves.items()}


def _as_read(given: Any, leaves: Mapping[str, Any], path: str = "") -> Any:
    """The given settings with parsed numbers: ``1e6`` or ``1M`` steps are 1000000."""
    if isinstance(given, dict):
        before = f"{path}." if path else ""
        return {key: _as_read(value, leaves, before + key) for key, value in given.items()}
    read = leaves.get(path)
    return read if type(given) in (float, str) and type(read) in (int, float) else given


def like(kind: Command, stored: Mapping[str, Any]) -> tuple[Draft, str]:
    """The form of a run, with what its settings have that the defaults have not; and a note of what
    of them a form cannot say.

    Raises:
        UsageError: its settings no longer fit.
    """
    config = from_stored(stored)
    chosen = {"preset": config.preset} | _algorithms(kind, config)
    base = _built(kind, config.task, [f"{path}={text}" for path, text in chosen.items()])
    usual = _leaves(_built(kind, config.task, []))
    mine, theirs = _leaves(config), _leaves(base)
    values = {p: t for p, t in chosen.items() if t != _text(p, _named(usual, p))}
    for path, value in mine.items():
        if path.startswith("algorithm") and kind in COMPARED:
            continue  # what the first of them has of its own stands in `own`, too
        if path in theirs and theirs[path] != value and path not in chosen:
            values[path] = _text(path, differing(value, theirs[path]) if path == "own" else value)
    settings = [f"{p}={v}" for p, v in changed(offer(), kind, values)]
    there: dict[str, Any] = {}
    with contextlib.suppress(ConfigError):
        there = _leaves(_built(kind, config.task, settings))
    lost = [path for path in mine if mine[path] != there.get(path)]
    note = f"not carried over: {', '.join(lost[:4])}" if lost else ""
    return Draft(kind, config.task, values), note


def _built(
    command: Command, task: str, settings: Sequence[str], source: str = COMMAND_LINE
) -> RunConfig:
    flags = {"task": task or None}
    return build_config(overrides=settings, flags=flags, source=source, **trained_by(command))


def _leaves(config: RunConfig) -> dict[str, Any]:
    out: dict[str, Any] = {}

    def below(model: BaseModel, prefix: str) -> None:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                below(value, f"{prefix}{name}.")
            else:
                out[f"{prefix}{name}"] = value

    below(config, "")
    return out


def _named(leaves: Mapping[str, Any], path: str) -> Any:
    return leaves["algorithm.name"] if path == "algorithm" else leaves[path]


def _text(path: str, value: Any) -> str:
    if path in ("seeds", "log", "algorithms"):
        return ",".join(map(str, value))
    return yaml_text.dump_inline(list(value) if isinstance(value, tuple) else value)


def _algorithms(kind: Command, config: RunConfig) -> dict[str, str]:
    """What is trained, as one would type it."""
    if kind in COMPARED and config.variants:
        return {"variants": yaml_text.dump_inline(config.variants)}
    if kind in COMPARED:
        return {"algorithms": ",".join(config.algorithms)} if config.algorithms else {}
    return {"algorithm": config.algorithm.label} if kind == "train" else {}
