"""Stored settings in this version's layout, without the configuration behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marl.settings.stored import upgraded
from prompts.cards import CardError, load_card


def kind_of(task: object) -> str:
    """The kind of a task; empty where there is no such task."""
    try:
        return load_card(str(task)).env.kind
    except CardError:
        return ""


def stored_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the run store keeps of a configuration."""
    env = data.get("env")
    known = isinstance(env, Mapping) and "kind" in env
    return upgraded(data, "" if known else kind_of(data.get("task")))
