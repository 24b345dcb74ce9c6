"""Task cards: one file per task, read by everything that needs to know the task.

A card holds prose for the language model and a machine-readable schema of the global state. The
prompt text, the property suite's state generator, the prover's intervals and the environments'
self-check all read the same card, so that they cannot disagree: one model, and one file above 400
lines.

A card is YAML under ``prompts/tasks/`` (or any file the user names). The file's path below that
folder, without its suffix, is the task's name: ``tasks/matrix/climbing.yaml`` is
``matrix/climbing``. A file name with a ``{parameter}`` in it describes a family: it is a Jinja2
template that is rendered with the number in its place, so ``penalty-{k}.yaml`` serves
``matrix/penalty-25`` within the range that the file's ``family`` entry states.

Cards that differ in a few numbers share a template, and columns that repeat for each agent are
written once: `prompts.expansion` describes how. Where the state is agent-major, as in MPE, each
slice belongs to one agent and says so (``agent``), and an axis may run over the *other* agents
(``others_axis``); `TaskCard.by_agent` collects such slices again, and `TaskCard.swapped_columns`
says how the columns move when agents change places.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from prompts.expansion import read_card_data
from prompts.order import other_places, rearranged
from prompts.schema import (
    MAX_COLUMNS,
    EnvSpec,
    FamilySpec,
    Frozen,
    MetricSpec,
    Number,
    RewardRange,
    StateSlice,
    Text,
    Word,
)

TASKS_DIR = Path(__file__).parent / "tasks"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class CardError(ValueError):
    """A card that cannot be used; the message says what is wrong, where, and what to do."""


class UnknownTaskError(CardError):
    """No card has this name; ``near`` lists the names that resemble it."""

    def __init__(self, name: str, near: list[str]) -> None:
        self.name, self.near = name, near
        hint = f"did you mean {', '.join(near)}?" if near else "`qllm tasks` lists what there is"
        super().__init__(f"unknown task '{name}': {hint}")


class TaskCard(Frozen):
    """A cooperative task as the coder, the sandbox and the environments see it."""

    name: Word
    title: Word
    prose: Text = Field(description="the task in words, as the coder reads it")
    n_agents: int = Field(ge=1, le=64)
    n_actions: int = Field(ge=1, le=4096)
    action_names: tuple[Word, ...]
    horizon: int = Field(ge=1, le=1_000_000, description="environment steps in an episode")
    gamma: float = Field(default=0.99, gt=0, le=1)
    reward: RewardRange
    state: tuple[StateSlice, ...] = Field(min_length=1)
    start_state: tuple[Number, ...] | None = Field(
        default=None, description="the state at the first step, where every episode starts alike"
    )
    exchangeable: tuple[tuple[int, ...], ...] = Field(
        default=(), description="groups of agents that could swap places without a difference"
    )
    types: tuple[Word, ...] = Field(
        default=(), description="each agent's type; those of one type may share a network"
    )
    env: EnvSpec
    metrics: tuple[MetricSpec, ...] = Field(
        default=(), max_length=64, description="what the environment tells besides the reward"
    )
    family: FamilySpec | None = None
    source: Text = Field(default="", description="where the task and its numbers come from")

    @model_validator(mode="after")
    def _consistent(self) -> TaskCard:
        if len(self.action_names) != self.n_actions:
            raise ValueError(f"{len(self.action_names)} action_names for {self.n_actions} actions")
        for what, named in (("state slices", self.state), ("metrics", self.metrics)):
            if len({part.name for part in named}) != len(named):
                raise ValueError(f"two {what} have the same name")
        for s in self.state:
            if s.agent_axis is not None and s.shape[s.agent_axis] != self.n_agents:
                raise ValueError(f"slice '{s.name}': its agent axis is not {self.n_agents} long")
            if s.agent is not None and s.agent >= self.n_agents:
                raise ValueError(f"slice '{s.name}': there is no agent {s.agent}")
            if s.others_axis is not None and s.shape[s.others_axis] != self.n_agents - 1:
                raise ValueError(
                    f"slice '{s.name}': its others_axis is not {self.n_agents - 1} long"
                )
        if self.state_dim > MAX_COLUMNS:
            raise ValueError(f"a state of {self.state_dim:,} columns; the most is {MAX_COLUMNS:,}")
        self._check_start()
        for group in self.exchangeable:
            if any(not 0 <= i < self.n_agents for i in group):
                raise ValueError(f"exchangeable group {group} names an agent that does not exist")
            if len(set(group)) != len(group):
                raise ValueError(f"exchangeable group {group} names an agent twice")
        self._check_types()
        return self

    def _check_types(self) -> None:
        if len(self.types) not in (0, self.n_agents):
            raise ValueError(
                f"{len(self.types)} types for {self.n_agents} agents: name each agent's type, or "
                "leave types out"
            )
        for group in self.exchangeable if self.types else ():
            if len({self.types[i] for i in group}) > 1:
                raise ValueError(f"exchangeable group {group} has agents of different types")

    def _check_start(self) -> None:
        start = self.start_state
        if start is None:
            return
        if len(start) != self.state_dim:
            raise ValueError(f"start_state has {len(start)} of {self.state_dim} values")
        for column, (low, high) in enumerate(self.column_intervals()):
            if not low <= start[column] <= high:
                raise ValueError(
                    f"start_state: {self.column_name(column)} is {start[column]:g}, and its slice "
                    f"says {low:g} to {high:g}"
                )

    @property
    def state_dim(self) -> int:
        """Number of columns of the global state."""
        return sum(s.size for s in self.state)

    def offsets(self) -> Iterator[tuple[StateSlice, int]]:
        """Each slice with the index of its first column."""
        at = 0
        for s in self.state:
            yield s, at
            at += s.size

    def column(self, index: int) -> tuple[StateSlice, tuple[int, ...]]:
        """The slice that holds a state column, and the column's place in that slice.

        Raises:
            IndexError: ``index`` is not in ``range(state_dim)``.
        """
        for s, at in self.offsets():
            if at <= index < at + s.size:
                place, rest = [], index - at
                for n in reversed(s.shape):
                    rest, i = divmod(rest, n)
                    place.append(i)
                return s, tuple(reversed(place))
        raise IndexError(f"state column {index} of {self.state_dim}")

    def column_name(self, index: int) -> str:
        """A state column in the card's own words, such as ``last_action[1]``."""
        s, place = self.column(index)
        return f"{s.name}[{','.join(map(str, place))}]" if s.size > 1 else s.name

    def column_intervals(self) -> list[tuple[float, float]]:
        """Per state column, the smallest and largest value (sentinels included)."""
        return [s.interval for s in self.state for _ in range(s.size)]

    def by_agent(self) -> dict[str, tuple[range, ...]]:
        """The fields that every agent has of its own: for each, the agents' columns in order.

        In ``mpe/spread-3``, ``by_agent()["velocity"]`` is columns 0:2, 18:20 and 36:38.
        """
        found: dict[str, dict[int, range]] = {}
        for s, at in self.offsets():
            if s.agent is not None:
                found.setdefault(s.field, {})[s.agent] = range(at, at + s.size)
        return {
            name: tuple(columns[i] for i in range(self.n_agents))
            for name, columns in found.items()
            if len({len(c) for c in columns.values()}) == 1 and len(columns) == self.n_agents
        }

    def swapped_columns(self, order: Sequence[int]) -> tuple[int, ...]:
        """Where each column comes from when agent i takes the place of agent ``order[i]``.

        ``state[:, swapped_columns(order)]`` with ``agent_qs[:, order]`` is the same situation with
        the agents renumbered. Slices without an agent stay as they are.

        Raises:
            ValueError: ``order`` is no permutation of the agents, or an agent has a field that the
                one in whose place it goes does not have.
        """
        if sorted(order) != list(range(self.n_agents)):
            raise ValueError(f"{list(order)} is no permutation of {self.n_agents} agents")
        starts = {s.name: (s, at) for s, at in self.offsets()}
        columns: list[int] = []
        for s, at in self.offsets():
            if s.agent is None:
                columns += rearranged(at, s.shape, s.agent_axis, order)
                continue
            other, start = starts.get(f"agent{order[s.agent]}_{s.field}", (None, 0))
            if other is None or (other.shape, other.others_axis) != (s.shape, s.others_axis):
                raise ValueError(f"agent {order[s.agent]} has no '{s.field}' like {s.name}")
            columns += rearranged(start, s.shape, s.others_axis, other_places(s.agent, order))
        return tuple(columns)

    def agent_types(self) -> tuple[str, ...]:
        """Each agent's type: the card's own word, else one for each group of exchangeable agents.

        Empty where the card says neither of every agent.
        """
        if self.types:
            return self.types
        groups = {i: f"group {at}" for at, group in enumerate(self.exchangeable) for i in group}
        everybody = range(self.n_agents)
        return tuple(groups[i] for i in everybody) if len(groups) == self.n_agents else ()

    def in_unit(self, scale: float) -> TaskCard:
        """The same task, its rewards divided by ``scale`` before anything is learned from them."""
        return self.model_copy(update={"reward": self.reward.model_copy(update={"scale": scale})})

    def scaled_reward(self) -> tuple[float, float]:
        """The reward's range in the unit of Q: divided by its scale, where one is known."""
        scale = self.reward.scale or 1.0
        return self.reward.low / scale, self.reward.high / scale

    def q_bound(self) -> float:
        """A bound on an agent's |Q|: the discounted sum of the largest reward over the horizon.

        sum_{t < horizon} gamma^t * max|r| / scale, rounded up to a power of two, at least 16: in
        the unit of the Qs that a function is given. Certificates name it, since finiteness is
        proved for |Q| up to this bound.
        """
        g, worst = self.gamma, max(map(abs, self.scaled_reward()))
        steps = self.horizon if g == 1 else (1 - g**self.horizon) / (1 - g)
        return float(2 ** math.ceil(math.log2(max(16.0, worst * steps))))

    def schema_hash(self) -> str:
        """SHA-256 over what a credit function depends on: agents, state schema, reward, horizon.

        Prose and titles do not count: rewording a card does not invalidate a certificate. Nor does
        the reward's scale, which may be measured: certificates and checkpoints name it themselves.
        """
        kept = self.model_dump(
            mode="json",
            include={
                "n_agents",
                "n_actions",
                "horizon",
                "gamma",
                "reward",
                "state",
                "exchangeable",
            },
        )
        for s in kept["state"]:
            del s["meaning"], s["sentinel_meaning"]
            for key in ("agent", "others_axis"):
                if s[key] is None:  # a card that has none is what it was before there were any
                    del s[key]
        del kept["reward"]["meaning"], kept["reward"]["scale"]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


_ANY = {"low": 0, "high": 0}


def _task_files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }


def list_tasks(folder: Path = TASKS_DIR) -> list[str]:
    """Names of all cards; a family appears with its parameter in braces."""
    return list(_task_files(folder))


def _match_family(pattern: str, name: str) -> dict[str, int] | None:
    """The parameter's value if ``name`` belongs to the family, canonical decimals only."""
    parts = _PLACEHOLDER.split(pattern)
    regex = "".join(
        re.escape(p) if i % 2 == 0 else f"(?P<{p}>0|[1-9][0-9]{{0,8}})" for i, p in enumerate(parts)
    )
    found = re.fullmatch(regex, name)
    return {k: int(v) for k, v in found.groupdict().items()} if found else None


def load_card(name: str, folder: Path = TASKS_DIR) -> TaskCard:
    """The card of a task, by name (``matrix/climbing``) or by the path of a YAML file.

    Raises:
        UnknownTaskError: no such card (near names in the message).
        CardError: the card's file cannot be read or breaks a rule.
    """
    if name.endswith((".yaml", ".yml")):
        return _parse(Path(name), Path(name).stem, {})
    return _of_this_package(name) if folder == TASKS_DIR else _in_folder(name, folder)


@cache
def _of_this_package(name: str) -> TaskCard:
    return _in_folder(name, TASKS_DIR)


def _in_folder(name: str, folder: Path) -> TaskCard:
    files = _task_files(folder)
    if name in files and not _PLACEHOLDER.search(name):
        return _parse(files[name], name, {})
    for pattern, path in files.items():
        values = _match_family(pattern, name)
        if values is not None:
            return _parse(path, name, values)
    if name in _RENAMED:
        raise UnknownTaskError(name, [_RENAMED[name]])
    candidates = [_PLACEHOLDER.sub("0", f) for f in files]
    raise UnknownTaskError(name, _near(name, candidates))


_RENAMED = {
    "football/academy-3-vs-1": "football/3-vs-1 (its new name; the goalkeeper is an agent, too)"
}
"""Tasks that had another name once, and what became of them."""


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Names that resemble one, else names whose beginning does (``lfb/8x8``)."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return near
    begun: dict[str, list[str]] = {}
    for known in names:
        begun.setdefault(known[: len(name)], []).append(known)
    found = difflib.get_close_matches(name, begun, n=3, cutoff=0.7)
    return [known for beginning in found for known in begun[beginning]][:3]


def load_listed(name: str, folder: Path = TASKS_DIR) -> TaskCard:
    """The card of a name as `list_tasks` gives it: of a family, the member with the lowest number.

    Raises:
        UnknownTaskError, CardError: as `load_card`.
    """
    keys = _PLACEHOLDER.findall(name)
    path = _task_files(folder).get(name)
    if not keys or path is None:
        return load_card(name, folder)
    family = FamilySpec.model_validate(_data(path, dict.fromkeys(keys, 0)).get("family", _ANY))
    return load_card(_PLACEHOLDER.sub(str(family.low), name), folder)


_LONGEST_REASON = 400


def _refused(path: Path, reason: object) -> CardError:
    """One line, whatever the file holds; printing makes harmless what else is in it."""
    said = " ".join(str(reason).split())
    cut = said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]}..."
    return CardError(f"card {str(path)!r}: {cut}")


def _data(path: Path, values: dict[str, int]) -> dict[str, Any]:
    try:
        return read_card_data(path, values, TASKS_DIR)
    except FileNotFoundError:
        raise CardError(
            f"no card at {str(path)!r}: give a task's name or an existing YAML file"
        ) from None
    except OSError as error:
        raise _refused(path, error.strerror) from None
    except ValueError as error:
        raise _refused(path, error) from None


_PARTS: dict[str | int, type[Frozen]] = {
    "state": StateSlice, "reward": RewardRange, "env": EnvSpec, "family": FamilySpec,
    "metrics": MetricSpec,
}  # fmt: skip


def _in_words(error: ValidationError) -> str:
    """The first thing that is wrong with a card, and where."""
    first = error.errors(include_url=False)[0]
    *places, name = first["loc"] or ("card",)
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _PARTS.get(places[0], TaskCard) if places else TaskCard
        near = difflib.get_close_matches(str(name), known.model_fields, n=3, cutoff=0.5)
        said = f"unknown entry; {'did you mean' if near else 'there are'} " + ", ".join(
            near or known.model_fields
        )
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{'.'.join(map(str, (*places, name)))}: {said}{more}"


def _parse(path: Path, name: str, values: dict[str, int]) -> TaskCard:
    data = _data(path, values)
    try:
        card = TaskCard.model_validate({"name": name, **data})
    except ValidationError as error:
        raise _refused(path, _in_words(error)) from None
    if values and card.family is not None:
        (key, value), family = next(iter(values.items())), card.family
        if not family.low <= value <= family.high:
            near = name.replace(str(value), str(min(max(value, family.low), family.high)))
            raise UnknownTaskError(name, [f"{near} ({key} is {family.low} to {family.high})"])
    return card
