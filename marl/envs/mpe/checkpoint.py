"""Opponents from EPyMARL's files, so that scores can be compared with published ones.

EPyMARL (Papoudakis et al., 2021) freezes the prey of tag and the adversary of adversary as policies
that were trained by MADDPG. A file holds ``agent_params``, one entry per body; the prey's is the
last, the adversary's the first, and its ``policy`` is a multilayer perceptron: batch normalisation
of the inputs (``in_fn``, optional here), then ``fc1``, ``fc2`` and ``fc3`` with ReLU between them.
It is used as it is there: running statistics instead of a batch's, the opponent's own observation
before the step, and the action with the largest output. Files are read as weights only, so that
nothing in them is run.

What an output means has changed over time. The policies were trained in the original particle
environments, whose actions are none, right, left, up, down; EPyMARL now hands the same numbers to
environments that count none, left, right, down, up, where its prey runs into the predators and its
adversary away from the landmarks. ``original``, the default, plays them as they were trained;
``mpe2`` as EPyMARL now does.

Deviation: the outputs are computed in float64. Rounding in a product of matrices depends on the
size of the batch, and no instance's fate may; in float64 it decides practically no action.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.errors import SettingsError
from prompts.files import read_bytes

MAX_BYTES = 16 << 20
"""Of a file, and of what is packed in it; EPyMARL's are far smaller."""
MAX_HIDDEN = 1024

_EPSILON = 1e-5  # of torch's batch normalisation

NUMBERINGS: Mapping[str, tuple[int, ...]] = {
    "original": (0, 2, 1, 4, 3),
    "mpe2": (0, 1, 2, 3, 4),
}
"""By ``env.opponent_numbering``, the file's outputs for our actions none, left, right, down, up."""


class Perceptron:
    """Layers with ReLU between them; acts by the largest output.

    Args:
        layers: weight ``[out, in]`` and bias ``[out]`` of each layer, float64.
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]]) -> None:
        self._layers = layers

    def outputs(self, obs: Tensor) -> Tensor:
        """float64 ``[B, 5]``, in our order of the actions, for observations ``[B, o]``."""
        hidden = obs.double()
        for weight, bias in self._layers[:-1]:
            hidden = F.linear(hidden, weight, bias).relu_()
        return F.linear(hidden, *self._layers[-1])

    def __call__(self, obs: Tensor) -> Tensor:
        return self.outputs(obs).argmax(-1)


def _read(path: Path) -> Any:
    """The file's contents: tensors, numbers, text, and lists and mappings of them."""
    try:
        data = io.BytesIO(read_bytes(path, MAX_BYTES))
        if zipfile.is_zipfile(data):
            with zipfile.ZipFile(data) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                    raise ValueError(f"unpacked it is larger than {MAX_BYTES:,} bytes")
        data.seek(0)
        with warnings.catch_warnings(action="ignore"):  # what is wrong is said below, once
            return torch.load(data, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SettingsError(f"env.opponent: there is no file '{path}'") from None
    except OSError as error:
        raise SettingsError(
            f"env.opponent: '{path}' cannot be read: {error.strerror or error}"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged file can make torch raise almost any
        raise SettingsError(
            f"env.opponent: '{path}' is no file of weights that torch saved: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    """What torch says is wrong, without its advice to trust the file."""
    found = re.search(r"WeightsUnpickler error:\s*(.*)", str(error)) or re.match("(.+)", str(error))
    said = found.group(1).partition(" Please")[0] if found else ""
    return said[:200] or type(error).__name__


def _policy(data: Any, entry: int) -> Any:
    """The policy's tensors within a whole checkpoint, one agent's entry, or themselves."""
    if isinstance(data, Mapping) and isinstance(data.get("agent_params"), list | tuple):
        data = data["agent_params"][entry] if data["agent_params"] else None
    return data.get("policy", data) if isinstance(data, Mapping) else data


def _layers(policy: Any, obs_dim: int, n_actions: int) -> list[tuple[Tensor, Tensor]]:
    """The layers in float64, the normalisation of the inputs folded into the first.

    Raises:
        ValueError: with the reason, as the end of a sentence.
    """
    names = [f"fc{k}.{part}" for k in (1, 2, 3) for part in ("weight", "bias")]
    norms = [f"in_fn.{part}" for part in ("running_mean", "running_var", "weight", "bias")]
    if not isinstance(policy, Mapping):
        raise ValueError("it holds no agent's policy")
    normed = any(str(name).startswith("in_fn.") for name in policy)
    tensors = {name: _plain(policy, name) for name in [*names, *(norms if normed else [])]}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    hidden = shapes["fc1.bias"][:1] + shapes["fc2.bias"][:1]
    if len(hidden) != 2:
        raise ValueError("its biases are no vectors")
    if max(hidden) > MAX_HIDDEN:
        raise ValueError(f"its policy has {max(hidden):,} hidden units; the most is {MAX_HIDDEN:,}")
    sizes = (obs_dim, *hidden, n_actions)
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(norms, (obs_dim,))
    for k in (1, 2, 3):
        wanted |= {f"fc{k}.weight": (sizes[k], sizes[k - 1]), f"fc{k}.bias": (sizes[k],)}
    for name, shape in shapes.items():
        if shape != wanted[name]:
            raise ValueError(
                f"its policy's '{name}' has shape {list(shape)}, not {list(wanted[name])}, for "
                f"{obs_dim} observations and {n_actions} actions"
            )
    values = {name: value.double() for name, value in tensors.items()}
    layers = [(values[f"fc{k}.weight"], values[f"fc{k}.bias"]) for k in (1, 2, 3)]
    if normed:
        mean, variance, scale, shift = (values[name] for name in norms)
        if bool((variance < 0).any()):
            raise ValueError("its normalisation has a negative variance, in 'in_fn.running_var'")
        scale = scale / (variance + _EPSILON).sqrt()
        weight, bias = layers[0]
        layers[0] = (weight * scale, bias + weight @ (shift - mean * scale))
    if not all(bool(part.isfinite().all()) for layer in layers for part in layer):
        raise ValueError("its policy has weights that are not finite")
    return layers


def _plain(policy: Mapping[Any, Any], name: str) -> Tensor:
    value = policy.get(name)
    if not isinstance(value, Tensor):
        raise ValueError(f"its policy has no tensor '{name}'")
    kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
    dtype, device = value.dtype, value.device.type
    if (kind, device) != ("strided", "cpu") or not dtype.is_floating_point or value.is_quantized:
        raise ValueError(
            f"its policy's '{name}' is no plain tensor of real numbers, but {kind}, {dtype}, "
            f"on device {device}"
        )
    return value.detach()


def read_opponent(
    path: str, *, entry: int, obs_dim: int, numbering: str, device: torch.device
) -> Perceptron:
    """A frozen opponent from a file.

    Args:
        path: a checkpoint of EPyMARL's, or one agent's policy alone (a state dict).
        entry: which of the checkpoint's agents, counted from the end if negative.
        obs_dim: size of its observation.
        numbering: how it counts the actions, a name of `NUMBERINGS`.
        device: where it is to decide.

    Raises:
        SettingsError: the file is missing, is no file of weights, or does not fit.
    """
    file, outputs = Path(path).expanduser(), torch.tensor(NUMBERINGS[numbering])
    policy = _policy(_read(file), entry)
    try:
        *hidden, (weight, bias) = _layers(policy, obs_dim, len(outputs))
    except ValueError as error:
        raise SettingsError(f"env.opponent: '{file}' does not fit: {error}") from None
    layers = [*hidden, (weight[outputs], bias[outputs])]
    return Perceptron([(weight.to(device), bias.to(device)) for weight, bias in layers])
