"""Every key of the configuration, found from the types: for errors and for the documentation."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from marl.settings.algorithms import AlgorithmSettings
from marl.settings.registry import ALGORITHMS


@dataclass(frozen=True)
class Key:
    """One setting."""

    path: str
    field: FieldInfo
    member: str | None = None
    """The member of a union (such as the algorithm ``qmix``) that has this key."""


def members(annotation: Any) -> dict[str, type[BaseModel]]:
    """The members of a union of models by their ``name``; empty for anything else."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if annotation is AlgorithmSettings:
        return dict(ALGORITHMS)
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return {}
    models = typing.get_args(annotation)
    if not all(isinstance(m, type) and issubclass(m, BaseModel) for m in models):
        return {}
    return {m.model_fields["name"].default: m for m in models}


def group(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field that groups others."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if members(annotation) else annotation
    return None


def walk(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every setting below a model, in order; a union's keys come once per member that has them."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        union, nested = members(field.annotation), group(field.annotation)
        if union:
            for member, member_model in union.items():
                for key in walk(member_model, f"{path}."):
                    yield Key(key.path, key.field, member)
        elif nested is not None:
            yield from walk(nested, f"{path}.")
        else:
            yield Key(path, field)
