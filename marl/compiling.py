"""Mixing networks through `torch.compile`, for those who ask for it."""

from __future__ import annotations

import os
import shutil

import torch
from torch import nn

from marl.errors import SettingsError


def compile_mixer(mixer: nn.Module, device: torch.device) -> None:
    """Let a mixing network be compiled at its first call, once for all sizes of a batch.

    Each class is compiled by its own ``forward``, which is what torch counts recompilations by: all
    seeds of all algorithms may be trained in one process.

    Raises:
        SettingsError: there is no C++ compiler, which torch needs on a CPU.
    """
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise SettingsError(
            "learner.compile_mixer needs a C++ compiler and there is none: install g++, name one "
            "in CXX, or leave learner.compile_mixer out"
        )
    compiled = torch.compile(mixer.forward, dynamic=True)
    setattr(mixer, "forward", compiled)  # noqa: B010 (mypy allows no assignment to a method)
