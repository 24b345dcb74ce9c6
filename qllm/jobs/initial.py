"""``init_from``: trainings that begin with the networks of other ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.checkpoint import open_checkpoint, save_checkpoint
from marl.envs.registry import make_env
from marl.errors import CheckpointError, SettingsError
from marl.trained import Which
from marl.warm_start import Initial, initial_networks, networks_hash
from prompts.cards import TaskCard
from qllm.config.errors import ConfigError
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.explain import card_of, trained_in
from qllm.store.numbers import run_id_of, run_name
from qllm.store.schema import Run
from qllm.store.store import Store
from qllm.units import checkpoint_named
from sandbox.runtime import CreditFunction

if TYPE_CHECKING:
    from qllm.jobs.credit import TrainedCredit

_FOLDER = "initial"
"""Checkpoint of the initial networks in a training's folder."""

Found = Mapping[tuple[str, int], tuple[Initial, dict[str, Any]]]
"""Networks and what a run's inputs say of them, by algorithm and seed."""


def find_initial(
    store: Store, config: RunConfig, card: TaskCard, credit: TrainedCredit | None
) -> Found:
    """Initial networks of each training of a run; none where ``init_from`` is not set.

    Raises:
        UsageError: there is no such run or checkpoint, or its networks do not fit; in one line
            that says what differs.
        qllm.store.errors.UnknownRunError: there is no such run.
    """
    if config.init_from is None:
        return {}
    run_id, which = _named(config.init_from)
    trainings = store.runs.trainings(run_id)
    found = {}
    for label in config.labels:
        settings = config.for_training(label, config.seeds[0])
        own = settings.train_config().on(card.env.kind)
        single, cpu = own.env.model_copy(update={"num_envs": 1}), torch.device("cpu")
        with closing(make_env(card, 1, 0, cpu, torch.float32, single)) as env:
            sizes, horizon = TaskSizes.of(card, env.obs_dim, env.agent_types), env.horizon
        function = None
        if own.algorithm.uses_credit and credit is not None:
            function = CreditFunction(credit.graph)
        algorithm = make_algorithm(Build(own, sizes, card.gamma, horizon, credit=function))
        for seed in config.seeds:
            run = _source(trainings, label, seed, run_name(run_id))
            try:
                trained = trained_in(store, run, card_of(run), which)
                initial = initial_networks(trained, own, algorithm)
            except (CheckpointError, ConfigError, SettingsError, UsageError) as error:
                place = f"init_from={config.init_from}: run {run.name} for {label}"
                raise UsageError(f"{place}: {error}") from None
            said = {"run": run.name, "algo": run.algo, "step": trained.step}
            found[label, seed] = initial, {**said, "whole": initial.whole, "hash": initial.hash}
    return found


def _named(text: str) -> tuple[int, Which]:
    """The run and the checkpoint of ``RUN``, ``RUN@best`` or ``RUN@STEP``."""
    number, _, which = text.partition("@")
    run_id, checkpoint = run_id_of(number), checkpoint_named(which or "newest")
    if run_id is None or checkpoint is None:
        raise UsageError(
            f"init_from={text}: give a run such as 7 or 7.2, and perhaps which checkpoint: 7@best,"
            " or 7@20k after so many steps"
        )
    return run_id, checkpoint


def _source(trainings: Sequence[Run], label: str, seed: int, name: str) -> Run:
    """The source of a training's networks: the only training, or the one of its label and seed."""
    alike = [run for run in trainings if len(trainings) == 1 or run.algo == label]
    if len(alike) > 1:
        alike = [run for run in alike if run.seed == seed]
    if len(alike) != 1:
        there = ", ".join(f"{run.name} ({run.algo}, seed {run.seed})" for run in trainings)
        raise UsageError(
            f"run {name} has no training of {label} with seed {seed} to begin with; name one of"
            f" its trainings: {there or 'it has none'}"
        )
    return alike[0]


def keep_initial(store: Store, run_id: int, found: Found) -> None:
    """Save the networks in the folders of a run's trainings, and their origin in the rows."""
    for run in store.runs.trainings(run_id) if found else ():
        initial, said = found[str(run.algo), int(run.seed or 0)]
        save_checkpoint(store.make_run_dir(run.id) / _FOLDER, initial.networks, said)
        store.runs.set_inputs(run.id, {**run.inputs, "initial": said})


def kept_initial(run: Run, folder: Path, *, begins: bool) -> Initial | None:
    """Initial networks of a training; None where its seed gives them.

    Args:
        begins: whether the networks themselves are needed.

    Raises:
        CheckpointError: they are not there any more, or others.
    """
    said = run.given.initial
    if said is None:
        if run.config.get("init_from") is None:
            return None
        raise CheckpointError("the networks that it begins with were not kept: start it anew")
    if not begins:
        return Initial(said.hash)
    with open_checkpoint(folder / _FOLDER) as saved:
        networks = saved.tensors()
        if networks_hash(networks) != said.hash:
            raise CheckpointError("not the networks that the training was given: start it anew")
    return Initial(said.hash, networks)
