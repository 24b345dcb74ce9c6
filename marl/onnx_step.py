"""One step of the agents as an ONNX file, compared with torch before it is left there."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from pathlib import Path

import torch

from marl.errors import SettingsError
from marl.portable import AgentStep

INPUTS = ("obs", "hidden", "last_actions")
"""The last one only where agents are told their last actions."""
PACKAGES = ("onnx", "onnxruntime", "onnxscript")

_BATCHES = (1, 2, 33)
_TOLERANCE = 1e-4
"""Two libraries add float32 products up in another order; beyond this something is wrong."""


def require_onnx() -> None:
    """Find out whether ONNX files can be written and compared.

    Raises:
        SettingsError: a package is not installed; the message says what to install.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"--onnx needs the extra 'onnx', of which {', '.join(missing)} is not installed:"
            " pip install -e '.[onnx]', or leave --onnx out"
        )


def write_onnx(step: AgentStep, path: Path, outputs: tuple[str, str]) -> float:
    """Write a step as ONNX, of any batch size, and run it beside torch on random inputs.

    Args:
        step: of the agents.
        path: the file.
        outputs: names of what it returns.

    Returns:
        The largest absolute difference between both.

    Raises:
        ArithmeticError: they differ beyond rounding; the file is there all the same.
    """
    names = INPUTS[: len(step.examples(1, 0))]
    sizes = {0: torch.export.Dim("batch")}
    quiet = logging.getLogger("torch.onnx")
    before, chatter = quiet.level, io.StringIO()
    quiet.setLevel(logging.ERROR)
    try:
        # The exporter tells its progress, and what it thinks of other packages.
        with warnings.catch_warnings(), contextlib.redirect_stdout(chatter):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                step,
                step.examples(2, 0),
                dynamo=True,
                input_names=names,
                output_names=outputs,
                dynamic_shapes=(sizes,) * len(names),
                verbose=False,
            )
            assert program is not None
            program.save(path)
    finally:
        quiet.setLevel(before)
    return _difference(step, path)


def _difference(step: AgentStep, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in _BATCHES:
        given = step.examples(batch, batch)
        fed = {name: x.numpy() for name, x in zip(INPUTS, given, strict=False)}
        for there, here in zip(session.run(None, fed), step(*given), strict=True):
            worst = max(worst, float((torch.from_numpy(there) - here).abs().max()))
    if not worst <= _TOLERANCE:  # also where it is not a number
        raise ArithmeticError(f"ONNX and torch differ by {worst:.3g}")
    return worst
