"""The models that a user has added: one file of YAML that people can read and edit."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from models.entries import ModelEntry
from models.protocol import ModelError

_HEADER = """\
# Models that QLLM knows. `qllm models add` and `remove` write this file; it may also be edited.
# It holds no keys: key_env names the environment variable that has one.
"""


class UnknownModelError(ModelError):
    """No model of this name is registered."""


class ModelRegistry:
    """The file, read anew by every call, so that several processes see each other's changes.

    Args:
        file: need not exist; the first `add` makes it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def entries(self) -> tuple[ModelEntry, ...]:
        """All models, in the order in which they were added.

        Raises:
            ModelError: the file cannot be read, or an entry breaks a rule.
        """
        return tuple(self._read().values())

    def get(self, name: str) -> ModelEntry:
        """The model of this name.

        Raises:
            UnknownModelError: there is none; near names are listed.
            ModelError: the file cannot be read.
        """
        entries = self._read()
        if name not in entries:
            raise UnknownModelError(unknown(name, list(entries)))
        return entries[name]

    def add(self, entry: ModelEntry, *, replace: bool = False) -> None:
        """Write a model to the file.

        Raises:
            ModelError: the name is taken and ``replace`` is not set, or the file cannot be written.
        """

        def put(entries: dict[str, ModelEntry]) -> None:
            if entry.name in entries and not replace:
                raise ModelError(
                    f"'{entry.name}' is registered already ({entries[entry.name].where}): choose"
                    " another name, or add it with --replace"
                )
            entries[entry.name] = entry

        self._change(put)

    def remove(self, name: str) -> ModelEntry:
        """Take a model out of the file (its own files are left alone); returns the entry.

        Raises:
            UnknownModelError: there is none.
            ModelError: the file cannot be written.
        """
        removed: list[ModelEntry] = []

        def take(entries: dict[str, ModelEntry]) -> None:
            if name not in entries:
                raise UnknownModelError(unknown(name, list(entries)))
            removed.append(entries.pop(name))

        self._change(take)
        return removed[0]

    def _read(self) -> dict[str, ModelEntry]:
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ModelError(f"'{self.file}' cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ModelError(f"'{self.file}' is no UTF-8 text") from None
        try:
            document = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark is not None else ""
            raise ModelError(f"'{self.file}' is no YAML{line}: correct it by hand") from None
        except RecursionError:
            raise ModelError(f"'{self.file}' is nested too deeply: correct it by hand") from None
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise ModelError(f"'{self.file}' must hold models by name: correct it by hand")
        return {str(name): self._entry(str(name), body) for name, body in document.items()}

    def _entry(self, name: str, body: object) -> ModelEntry:
        if not isinstance(body, dict):
            raise ModelError(f"'{self.file}': {name} must hold settings, such as backend: vllm")
        if "name" in body:
            raise ModelError(f"'{self.file}': {name}.name: the name stands above, remove this line")
        try:
            return ModelEntry.model_validate({**body, "name": name})
        except ValidationError as error:
            raise ModelError(f"'{self.file}': {name}{first_problem(error)}") from None

    def _change(self, change: Callable[[dict[str, ModelEntry]], None]) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                entries = self._read()
                change(entries)
                self._write(entries)
        except OSError as error:
            raise ModelError(f"'{self.file}' cannot be written: {error.strerror}") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A file of its own, since the registry itself is replaced by every change.
        lock = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, entries: Mapping[str, ModelEntry]) -> None:
        document = {
            name: entry.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
            for name, entry in entries.items()
        }
        body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True) if document else ""
        # A link stays a link: some people keep their configuration elsewhere.
        target = self.file.resolve()
        number, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(_HEADER + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which the first would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} appears twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def unknown(name: str, names: list[str]) -> str:
    """Message for a name that no model has."""
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"no model '{name}' is registered: did you mean {near[0]}?"
    if names:
        return f"no model '{name}' is registered: there is {', '.join(names[:8])}"
    return f"no model '{name}' is registered: `qllm models add {name} PATH` registers one"


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with an entry: ``.key: what``, near names for a wrong key."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = "".join(f".{part}" for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = list(ModelEntry.model_fields)
        near = difflib.get_close_matches(str(problem["loc"][-1]), fields, n=1)
        hint = f": did you mean {near[0]}?" if near else ": remove it"
        return f"{place}: there is no such setting{hint}"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    return f"{place}: {message}"
