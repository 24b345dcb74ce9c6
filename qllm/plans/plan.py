"""A plan: the trainings of a comparison as numbered pieces of work, in one JSON file.

It holds all that a piece needs: the resolved settings, the credit function as a certificate, the
versions. A hash over everything catches edits; like a certificate's, it is no signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from marl.settings.base import Settings
from prompts.bounded import BoundsError, read_json
from prompts.cards import TaskCard
from qllm import __version__
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.config.tree import RunConfig
from qllm.drafts import drafted
from qllm.errors import UsageError
from qllm.jobs.credit import CERTIFICATE, Credit
from qllm.jobs.sandboxes import Sandboxes
from qllm.jobs.tasks import playable_card, with_absolute_paths, with_reward_scale
from qllm.jobs.trainings import checked_credit
from qllm.jobs.versions import versions
from qllm.store.store import Store

MAX_FILE_BYTES = 64 << 20
"""Four of the largest certificates that are read."""

PlannedKind = Literal["train", "compare"]


class Piece(Settings):
    """One training of a plan."""

    index: Annotated[int, Field(ge=0)]
    label: str
    """The algorithm, as ``--algos`` takes it."""
    seed: Annotated[int, Field(ge=0)]

    @property
    def title(self) -> str:
        return f"piece {self.index} ({self.label}, seed {self.seed})"


class PlannedCredit(Settings):
    """The credit function of a plan, which every worker proves again."""

    certificate: dict[str, Any]
    inputs: dict[str, Any]
    """As `qllm.jobs.credit.Credit.inputs` gives them."""

    def keep(self, folder: Path) -> None:
        """Put the certificate into a run's folder."""
        text = json.dumps(self.certificate, indent=1, allow_nan=False)
        (folder / CERTIFICATE).write_text(text, encoding="utf-8")


class Plan(Settings):
    """A comparison, or the seeds of one algorithm, in pieces."""

    format: Literal["qllm-plan"] = "qllm-plan"
    version: Literal[1] = 1
    hash: str = ""
    """SHA-256 of the rest."""
    kind: PlannedKind
    versions: dict[str, str]
    card: str
    """SHA-256 of the task's card."""
    config: dict[str, Any]
    credit: PlannedCredit | None
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1)]

    @property
    def settings(self) -> RunConfig:
        """The resolved configuration of the whole.

        Raises:
            ConfigError: it does not fit this version.
        """
        return from_stored(self.config)

    def piece(self, index: int) -> Piece:
        """The piece with a number.

        Raises:
            UsageError: there is none.
        """
        if not 0 <= index < len(self.pieces):
            raise UsageError(f"there is no piece {index}: the plan has 0 to {len(self.pieces) - 1}")
        return self.pieces[index]

    def settings_of(self, piece: Piece) -> RunConfig:
        return self.settings.for_training(piece.label, piece.seed)

    def playable_card(self) -> TaskCard:
        """The task's card as it was planned.

        Raises:
            UsageError: it cannot be read or played here, or is another one now.
        """
        card = playable_card(self.settings)
        if _digest(card.model_dump(mode="json")) != self.card:
            raise UsageError(
                f"the card of task '{card.name}' is not the one that was planned with: "
                "bring that back, or make the plan anew"
            )
        return card

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def folder(self, home: Path) -> Path:
        """Where its pieces are worked on within a home folder."""
        return home / "plans" / self.hash[:16]


def make_plan(
    store: Store | None, sandboxes: Sandboxes, kind: PlannedKind, config: RunConfig
) -> Plan:
    """The plan of what ``qllm compare`` or ``qllm train`` would do with these settings.

    Neither the device nor the memory of this machine counts. A credit function is checked here.

    Args:
        store: is asked where a candidate is named by its number; None will do for a file.

    Raises:
        UsageError: the settings cannot work.
        WorkError: the credit function was rejected, or the sandbox is not available here.
    """
    if config.init_from is not None:
        raise UsageError(
            "init_from: pieces take no networks along; begin with them in one process or several of"
            " this machine (--parallel)"
        )
    config = with_reward_scale(with_absolute_paths(config))
    card = playable_card(config)
    credit = checked_credit(store, sandboxes, config, card, here=False)
    return plan_of_trainings(kind, config, card, credit)


def plan_of_trainings(
    kind: PlannedKind, config: RunConfig, card: TaskCard, credit: Credit | None
) -> Plan:
    """The plan of trainings whose settings have been resolved and checked."""
    config = config.model_copy(update={"parallel": 1})
    planned = None
    if credit is not None:
        with TemporaryDirectory() as folder:
            credit.keep(Path(folder), card)
            certificate = read_json(Path(folder) / CERTIFICATE, MAX_FILE_BYTES)
        planned = PlannedCredit(certificate=certificate, inputs=credit.inputs())
    named = [(label, seed) for label in config.labels for seed in config.seeds]
    plan = Plan(
        kind=kind,
        versions=versions(),
        card=_digest(card.model_dump(mode="json")),
        config=config.model_dump(mode="json"),
        credit=planned,
        pieces=tuple(
            Piece(index=index, label=label, seed=seed) for index, (label, seed) in enumerate(named)
        ),
    )
    return plan.model_copy(update={"hash": _hash(plan.document())})


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan's file, a whole one or none.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        with drafted(path) as draft:
            draft.write_text(json.dumps(plan.document(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"plan '{path}' cannot be written: {error.strerror}") from None


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        UsageError: it cannot be read, was edited, or is of another version of QLLM.
    """
    try:
        return plan_of(read_json(path, MAX_FILE_BYTES))
    except (BoundsError, ConfigError) as error:
        raise UsageError(f"plan {error}") from None
    except UsageError as error:
        raise UsageError(f"plan '{path}' {error}") from None


def plan_of(document: Any) -> Plan:
    """The plan in a document.

    Raises:
        UsageError: it is none, was edited, or is of another version of QLLM; the message goes on
            from the plan's name.
        ConfigError: its settings do not fit.
    """
    if not isinstance(document, Mapping) or document.get("format") != "qllm-plan":
        raise UsageError("is no plan: `qllm plan` writes one")
    made_by = document["versions"].get("qllm") if _is_object(document.get("versions")) else None
    if made_by != __version__:
        raise UsageError(
            f"was made by version {made_by} of QLLM, and this is {__version__}: "
            "use that version, or make the plan anew"
        )
    if document.get("hash") != _hash(document):
        raise UsageError("was edited since it was made: make it anew with `qllm plan`")
    try:
        plan = Plan.model_validate(document)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(f"is damaged ({place}): make it anew with `qllm plan`") from None
    config = plan.settings
    there = [(piece.index, piece.label, piece.seed) for piece in plan.pieces]
    named = [(label, seed) for label in config.labels for seed in config.seeds]
    if there != [(index, *pair) for index, pair in enumerate(named)]:
        raise UsageError("has other pieces than its settings: make it anew with `qllm plan`")
    return plan


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _hash(document: Mapping[str, Any]) -> str:
    return _digest({key: value for key, value in document.items() if key != "hash"})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
