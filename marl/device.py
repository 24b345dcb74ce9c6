"""Where tensors live and how wide their numbers are."""

from __future__ import annotations

import re

import torch

from marl.errors import SettingsError

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""What environments, replay and weights are kept in; bfloat16 is for products alone."""


def resolve_device(name: str) -> torch.device:
    """The device for ``auto`` (the first GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        SettingsError: no such name, or no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise SettingsError(f"device '{name}': choose auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise SettingsError(
            f"device '{name}': this machine has {count} CUDA device(s) that torch "
            f"{torch.__version__} can use; choose auto or cpu"
        )
    return device
