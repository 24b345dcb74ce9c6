"""What trains an algorithm: its optimisers, clipping, checks, timing and state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Draw
from marl.batch import Batch
from marl.clock import Clock
from marl.errors import TrainingError


class NonFiniteError(TrainingError):
    """A quantity of an update is NaN or infinite; what it was to change is as it was."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not finite")


class Learner:
    """One Adam for each of an algorithm's groups of parameters.

    Args:
        algorithm: its networks are updated in place.
        clock: charged with forward, backward and optimiser.
    """

    def __init__(self, algorithm: Algorithm, clock: Clock) -> None:
        self.algorithm = algorithm
        self._groups = algorithm.groups()
        self.optimisers = {
            name: torch.optim.Adam(parameters, lr=algorithm.lr(name), fused=True)
            for name, parameters in self._groups.items()
        }
        self.updates = 0
        self.largest_q = 0.0
        """The largest |Q| of an available action in the last update's batch."""
        self._clock = clock

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that is trained, group after group."""
        return [p for parameters in self._groups.values() for p in parameters]

    def update(self, draw: Draw) -> dict[str, float]:
        """One step of the optimiser of every group that learns from a draw, in their order.

        Returns:
            The algorithm's metrics with ``loss`` and ``grad_norm``, as of before the steps; with
            several groups the latter two begin with the group's name.

        Raises:
            NonFiniteError: a metric, loss or gradient is; its group and those after it were not
                changed.
        """
        batch, metrics = Batch.of(draw.episodes, newest=draw.newest), dict[str, float]()
        for name in self._groups if draw.groups is None else draw.groups:
            metrics |= self._step(name, batch)
        with self._clock.part("optimiser"):
            self.updates += 1
            self.algorithm.after_update(self.updates)
        return metrics

    def _step(self, group: str, batch: Batch) -> dict[str, float]:
        with self._clock.part("forward"):
            loss = self.algorithm.loss(group, batch)
        with self._clock.part("backward"):
            # All of them: one group's loss may reach into the networks of another.
            for optimiser in self.optimisers.values():
                optimiser.zero_grad(set_to_none=True)
            loss.value.backward()
            clip = self.algorithm.learner.grad_clip
            norm = nn.utils.clip_grad_norm_(self._groups[group], clip)
            before = f"{group}_" if len(self._groups) > 1 else ""
            named = {**loss.metrics, f"{before}loss": loss.value, f"{before}grad_norm": norm}
            read = [value.detach() for value in named.values()]
            if loss.largest_q is not None:
                read.append(loss.largest_q)
            values = torch.stack(read).tolist()
            if loss.largest_q is not None:
                self.largest_q = values.pop()
        metrics = dict(zip(named, values, strict=True))
        for what, value in metrics.items():
            if value - value != 0:
                raise NonFiniteError(what)
        with self._clock.part("optimiser"):
            self.optimisers[group].step()
        return metrics

    def state_dict(self) -> dict[str, Tensor]:
        """Networks, optimisers, the algorithm's tensors and number of updates, as flat tensors.

        Only parameters of the networks: a credit function's constants belong to its graph. The
        optimisers' moments are numbered along `parameters`.
        """
        state, first = self.networks(), 0
        for name, optimiser in self.optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                state |= {f"optimiser.{first + index}.{k}": v for k, v in moments.items()}
            first += len(self._groups[name])
        return state

    def networks(self) -> dict[str, Tensor]:
        """The part of `state_dict` that is not the optimisers': all that acting needs, and more."""
        parameters = {name: p.detach() for name, p in self.algorithm.named_parameters()}
        return {**parameters, **self.algorithm.tensors(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            KeyError, RuntimeError: the state is of other networks.
        """
        with torch.no_grad():
            for name, parameter in self.algorithm.named_parameters():
                parameter.copy_(state[name])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = value
        first = 0
        for name, optimiser in self.optimisers.items():
            count = len(self._groups[name])
            own = {i: moments[first + i] for i in range(count) if first + i in moments}
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": own, "param_groups": groups})
            first += count
        self.algorithm.load_tensors(state)
        self.updates = int(state["updates"])
