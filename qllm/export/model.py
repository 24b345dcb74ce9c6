"""``qllm export-model``: a training's agents and its credit function as files of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marl.checkpoint import save_tensors
from marl.errors import CheckpointError
from marl.onnx_step import INPUTS, require_onnx, write_onnx
from marl.portable import (
    AgentStep,
    load_agent,
    network_of_each,
    portable_tensors,
)
from marl.settings.algorithms import ActorCriticSettings
from marl.settings.train import TrainConfig
from marl.snapshot import MAY_DIFFER
from marl.trained import Trained, Which
from prompts.cards import TaskCard
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.drafts import drafted
from qllm.errors import UsageError, WorkError
from qllm.export.model_cards import credit_card, mixer_title, model_card
from qllm.export.write import export_folder
from qllm.facts.provenance import Provenance, provenance_of
from qllm.jobs.credit import CERTIFICATE, trains_with_credit
from qllm.jobs.explain import trained_in
from qllm.jobs.runner import root_of
from qllm.jobs.tasks import task_card
from qllm.json_text import finite
from qllm.store.errors import StoreError
from qllm.store.numbers import run_name
from qllm.store.schema import Run
from qllm.store.store import Store
from sandbox.certificate import Certificate, CertificateError, read_tfcaf
from sandbox.pymarl import mixer_difference, mixer_source

FORMAT, VERSION = "qllm-model", 1
FOLDER = "model"
"""Default folder within that of the training."""


@dataclass
class ExportedModel:
    """The written files, and how they were compared with the trained networks."""

    run: str
    """Number of the training."""
    others: tuple[str, ...] = ()
    """Numbers of the run's other trainings."""
    files: list[Path] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    """By file: the largest difference from the training's own torch on random inputs."""

    def document(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "other_trainings": list(self.others),
            "files": [str(path) for path in self.files],
            "largest_differences": self.differences,
        }

    def lines(self) -> list[str]:
        rest = f" (its others: {', '.join(self.others)})" if self.others else ""
        lines = [f"training {self.run}{rest}", *map(str, self.files)]
        for name, apart in self.differences.items():
            lines.append(f"{name}: differs by at most {apart:.2g} from torch on random inputs")
        return lines

    @contextmanager
    def file(self, folder: Path, name: str) -> Iterator[Path]:
        """A draft to write a file to."""
        with drafted(folder / name, f".part-{name}") as draft:
            yield draft
        self.files.append(folder / name)


@dataclass(frozen=True)
class _Training:
    run: Run
    card: TaskCard
    config: TrainConfig
    trained: Trained


def export_model(
    store: Store,
    run_id: int,
    out: Path | None = None,
    *,
    which: Which = "newest",
    onnx: bool = False,
) -> ExportedModel:
    """Write the agents of a training's checkpoint, and its credit function if it has one.

    Each file is whole or not there; files of an earlier export of this training are replaced.

    Args:
        run_id: a training, or a run with trainings, of which the first that has a checkpoint and
            trained with a credit function (else the first at all) is taken.
        out: the folder; ``model`` in the training's folder by default.

    Raises:
        UnknownRunError: there is no such run.
        SettingsError: a package for ONNX is missing.
        UsageError: there is no checkpoint or certificate that fits, or the folder holds another
            run's export.
        WorkError: a file cannot be written, or differs from what was trained.
    """
    if onnx:
        require_onnx()
    training = _training(store, run_id, which)
    credit = _certificate(store, training)
    try:
        step = AgentStep(load_agent(training.trained))
    except CheckpointError as error:
        raise UsageError(f"run {training.run.name}: checkpoint: {error}") from None
    others = [r.name for r in store.runs.trainings(run_id) if r.id != training.run.id]
    made = ExportedModel(training.run.name, tuple(others))
    with export_folder(store, training.run.id, out, FOLDER) as folder:
        try:
            _write_agents(made, folder, store, training, step, credit, onnx=onnx)
            if credit is not None:
                _write_credit(made, folder, training, credit, _provenance(store, training.run))
        except (ArithmeticError, CheckpointError) as error:
            raise WorkError(f"{error}: nothing was left of that file", training.run.id) from None
    return made


def _training(store: Store, run_id: int, which: Which) -> _Training:
    problem = f"run {run_name(run_id)} has no training (`qllm runs` lists what there is)"
    for run in sorted(store.runs.trainings(run_id), key=lambda run: not trains_with_credit(run)):
        try:
            settings = from_stored(run.config)
            card = task_card(settings)
            trained = trained_in(store, run, card, which)
            return _Training(run, card, settings.train_config(), trained)
        except (CheckpointError, ConfigError) as error:
            problem = f"run {run.name}: {error}"
    raise UsageError(problem)


def _certificate(store: Store, training: _Training) -> Certificate | None:
    """The certificate of a training's credit function, read as data: it was proved for the run."""
    run = training.run
    if not trains_with_credit(run):
        return None
    try:
        found = read_tfcaf(store.run_dir(root_of(store, run).id) / CERTIFICATE, training.card)
    except CertificateError as error:
        raise UsageError(f"certificate {error}") from None
    if found.graph.graph_hash != run.inputs.get("graph_hash"):
        raise UsageError(
            f"'{found.path}' holds another function than run {run.name} trained with: put its own "
            "certificate back"
        )
    return found


def _provenance(store: Store, run: Run) -> Provenance | None:
    """Origin of the function; None where it was given as a file, or its row is gone."""
    if run.given.candidate_id is None:
        return None
    try:
        return provenance_of(store, run.given.candidate_id)
    except StoreError:
        return None


def _write_agents(
    made: ExportedModel,
    folder: Path,
    store: Store,
    training: _Training,
    step: AgentStep,
    credit: Certificate | None,
    *,
    onnx: bool,
) -> None:
    with made.file(folder, "model.safetensors") as draft:
        save_tensors(draft, portable_tensors(step.agent))
    document = _document(training, step, credit, onnx=onnx)
    with made.file(folder, "config.json") as draft:
        draft.write_text(json.dumps(finite(document), indent=2) + "\n", encoding="utf-8")
    if onnx:
        with made.file(folder, "model.onnx") as draft:
            outputs = tuple(document["step"]["outputs"])
            made.differences["model.onnx"] = write_onnx(step, draft, outputs)
    metrics = store.training.evaluated(training.run.id)
    text = model_card(
        document, training.card, training.config, training.trained.evaluation, metrics
    )
    with made.file(folder, "README.md") as draft:
        draft.write_text(text, encoding="utf-8")


def _document(
    training: _Training, step: AgentStep, credit: Certificate | None, *, onnx: bool
) -> dict[str, Any]:
    """``config.json``."""
    run, card, config = training.run, training.card, training.config
    facts = training.trained.facts
    assert facts is not None
    scores = "logits" if isinstance(config.algorithm, ActorCriticSettings) else "q"
    n, a, h = card.n_agents, card.n_actions, config.agent.hidden
    sizes = {
        "obs": ["batch", n, step.obs_dim],
        "hidden": ["batch", n, h],
        "last_actions": ["batch", n],
    }
    taken = INPUTS if config.agent.last_action else INPUTS[:2]
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": card.name,
        "algorithm": config.algorithm.label,
        "seed": run.seed,
        "env_steps": training.trained.step,
        "n_agents": n,
        "n_actions": a,
        "action_names": list(card.action_names),
        "obs_dim": step.obs_dim,
        "state_dim": card.state_dim,
        "horizon": card.horizon,
        "gamma": card.gamma if config.learner.gamma is None else config.learner.gamma,
        "reward_scale": facts.reward_scale,
        "agent": config.agent.model_dump(mode="json"),
        "network_of_agent": network_of_each(step.agent),
        "step": {
            "inputs": {name: sizes[name] for name in taken},
            "outputs": {scores: ["batch", n, a], "next_hidden": ["batch", n, h]},
        },
        "onnx": onnx,
        "credit_function": None if credit is None else credit.graph.graph_hash,
        "training": _portable(config),
        "versions": dict(run.versions),
    }


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The settings that determine the result, without paths of the machine."""
    settings = config.model_dump(mode="json")
    for path in MAY_DIFFER:
        group, _, name = path.rpartition(".")
        (settings[group] if group else settings).pop(name, None)
    factory = settings["env"].get("factory")
    if isinstance(factory, str):
        settings["env"]["factory"] = factory.rpartition("/")[2]
    return settings


def _write_credit(
    made: ExportedModel,
    folder: Path,
    training: _Training,
    credit: Certificate,
    origin: Provenance | None,
) -> None:
    card, graph = training.card, credit.graph
    with made.file(folder, "credit.py") as draft:
        draft.write_text(credit.source, encoding="utf-8", errors="replace")
    with made.file(folder, CERTIFICATE) as draft:
        draft.write_bytes(credit.path.read_bytes())
    with made.file(folder, "pymarl_mixer.py") as draft:
        title = mixer_title(credit, card)
        text = mixer_source(graph, card, credit.source, title)
        draft.write_text(text, encoding="utf-8")
        made.differences["pymarl_mixer.py"] = mixer_difference(draft, graph, card)
    with made.file(folder, "CREDIT.md") as draft:
        draft.write_text(credit_card(credit, card, training.run, origin), encoding="utf-8")
