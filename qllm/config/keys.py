"""Every key of the configuration, found from the types: for errors and for the documentation."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from marl.settings.algorithms import AlgorithmSettings
from marl.settings.env import EnvConfig, env_classes
from marl.settings.registry import ALGORITHMS


@dataclass(frozen=True)
class Key:
    """One setting."""

    path: str
    field: FieldInfo
    member: str | None = None
    """The member of a union that has this key, in words: ``qmix``, ``tasks of kind mpe``."""


@dataclass(frozen=True)
class Union:
    """A group of settings that is of one of several models."""

    tag: str
    """The setting that says of which."""
    shared: type[BaseModel]
    """What all of them have."""
    models: Mapping[str, type[BaseModel]]
    """By tag."""
    noun: str = ""
    """Stands before a tag in words."""
    open: bool = False
    """Whether other tags are allowed, whose members have the shared settings only."""

    def special(self, member: str) -> set[str]:
        """The settings that a member has and not all have."""
        return self.models[member].model_fields.keys() - self.shared.model_fields.keys()


def union(annotation: Any) -> Union | None:
    """The union behind a field; None for anything else."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if annotation is AlgorithmSettings:
        return Union("name", AlgorithmSettings, dict(ALGORITHMS))
    if annotation is EnvConfig:
        return Union("kind", EnvConfig, env_classes(), "tasks of kind ", open=True)
    return None


def group(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field that groups others."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if union(annotation) else annotation
    return None


def walk(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every setting below a model, in order; a union's keys come once per member that has them."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        members, nested = union(field.annotation), group(field.annotation)
        if members is not None:
            for member, member_model in members.models.items():
                for key in walk(member_model, f"{path}."):
                    yield Key(key.path, key.field, f"{members.noun}{member}")
        elif nested is not None:
            yield from walk(nested, f"{path}.")
        else:
            yield Key(path, field)
