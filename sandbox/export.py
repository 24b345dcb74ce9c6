"""Trace a running candidate. Used only in the candidate's child.

The candidate runs once on tensors without data whose batch size is a symbol, under the tracer that
``torch.export`` itself uses (``make_fx`` with functionalisation below autograd), so writes become
functional operations. Calling it directly skips export's own passes, which took two thirds of the
time and none of which this format needs.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, FunctionType, MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    GuardOnDataDependentSymNode,
    ShapeEnv,
    SLoc,
    StatelessSymbolicContext,
)

from sandbox import facade, guards
from sandbox.export_json import ExportError
from sandbox.export_result import EXAMPLE_BATCH, checked_result, shape_text
from sandbox.facade import make_namespace
from sandbox.findings import ABOUT_SIZES
from sandbox.guards import SYMBOLIC, CandidateError
from sandbox.kept import Kept
from sandbox.operands import Places, in_words
from sandbox.policy import FILE_NAME, CheckedSource

logging.getLogger("torch").setLevel(logging.CRITICAL)  # failures are findings, not log lines

MAX_TRACED = 3_000
"""Operations that a trace may take; a graph, which leaves many of them out, may hold fewer."""


def load(
    checked: CheckedSource, views: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Callable[..., Any]:
    """Run the candidate's top level under the facade and return it as f(agent_qs, state).

    Args:
        checked: the compiled source.
        views: where the views that it may take lie in ``state``: the first column of each member
            (``starts``), columns of one (``size``), and the ``shape`` without the batch.

    Raises:
        ExportError: with stage-specific rule ``compile.*``.
    """
    namespace = make_namespace()
    given_names = dict(namespace)
    try:
        exec(checked.code, namespace)  # noqa: S102 - inside the locked child, under the policy
        kept = Kept(v for n, v in namespace.items() if v is not given_names.get(n))
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
        raise _explained(error, "compile.toplevel") from None
    entry = namespace.get(checked.entry)
    if not isinstance(entry, FunctionType) or entry.__code__.co_firstlineno != checked.line:
        raise ExportError(
            "compile.entry",
            f"`{checked.entry}` of line {checked.line} is bound anew; bind it by its `def` alone",
        )
    bound = list(zip(checked.arguments, checked.parameters, strict=True))

    def call(agent_qs: Tensor, state: Tensor) -> Any:
        given = {"agent_qs": agent_qs, "state": state}
        named = {a: given[p] if p in given else _view(state, views[p]) for a, p in bound}
        result = entry(**named)
        kept.require_unchanged()
        return result

    return call


def _view(state: Tensor, view: Mapping[str, Any]) -> Tensor:
    """A view [B, *shape] of ``state`` [B, state_dim]."""
    parts = [state[:, at : at + view["size"]] for at in view["starts"]]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    shape = view["shape"]
    return joined if len(shape) == 1 else joined.reshape(state.shape[0], *shape)


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    text = str(error).partition("Exception raised from")[0]  # then torch lists its own functions
    text = re.sub(r"^/\S+:\d+: ", "", " ".join(text[:4_000].split()))
    text = re.sub(r"\bs\d+\b", "B", text)
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__


_BRANCH = (
    "a Python branch (or conversion) depends on a tensor's values, but every row of the batch may "
    "differ; compute both and choose with torch.where(condition, a, b)"
)
_UNSUPPORTED = (
    "this operation cannot be traced for a batch of any size; say it with simpler ones, such as "
    "arithmetic, torch.where, torch.cat and sums over dim=1"
)
_KNOWN: tuple[tuple[type[Exception], str, str], ...] = (
    (GuardOnDataDependentSymNode, "export.branch", _BRANCH),
    (DataDependentOutputException, "export.branch", _BRANCH),
    (
        RecursionError,
        "export.recursion",
        "the function calls itself, or nests lists in lists; use a loop over a fixed range",
    ),
    (
        MemoryError,
        "export.memory",
        "it takes too much memory; use tensors of [B, n_agents] or the like, and no long lists",
    ),
    (ImportError, "export.unsupported", _UNSUPPORTED),
)
_SIGNS = (
    ("data-dependent", "export.branch", _BRANCH),
    ("Boolean value of Tensor", "export.branch", _BRANCH),
    # What bool(tensor) asks first.
    ("Cannot call numel() on tensor with symbolic sizes", "export.branch", _BRANCH),
    ("with symbolic sizes/strides", "export.unsupported", _UNSUPPORTED),
    ("expected to contain only concrete integers", "export.unsupported", _UNSUPPORTED),
)
"""What torch says about things that cannot be traced, whatever the candidate meant."""


def _explained(error: Exception, otherwise: str) -> ExportError:
    """A candidate's exception as a finding; ``otherwise`` is the rule for unforeseen ones."""
    if isinstance(error, ExportError):
        return error
    line = _line_of(error)
    if isinstance(error, CandidateError):
        return ExportError(error.rule, error.message, line)
    for kind, rule, message in _KNOWN:
        if isinstance(error, kind):
            return ExportError(rule, message, line)
    text = str(error)
    for sign, rule, message in _SIGNS:
        if sign in text:
            return ExportError(rule, message, line)
    return ExportError(otherwise, describe(error), line)


def _with_operands(
    found: ExportError, error: BaseException, places: Places, source: str
) -> ExportError:
    """A finding about sizes, with the shapes of what the expression worked on."""
    if found.rule != "export.error" or not source or not ABOUT_SIZES.search(found.message):
        return found
    said = in_words(places.operands(error, source), shape_text)
    return ExportError(found.rule, f"{found.message}; here {said}", found.line) if said else found


def _line_of(error: BaseException) -> int | None:
    """The innermost line of the candidate's own code that the exception passed through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


_OF_CANDIDATE = (FILE_NAME, facade.__file__, guards.__file__)
"""Whose frames ask on behalf of the candidate; the facade's do where a builtin compares."""


@contextmanager
def _refuse_branches_on_sizes() -> Iterator[None]:
    """Make ``if B > 1`` an error in the candidate's own frames (torch's own are left alone)."""
    originals = {kind: kind.__bool__ for kind in SYMBOLIC}

    def watching(original: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def watched(self: Any) -> bool:
            if sys._getframe(1).f_code.co_filename in _OF_CANDIDATE:
                raise CandidateError(
                    "export.branch",
                    "a branch on the batch size would be fixed at export; leave it out and treat "
                    "every batch alike, whatever its number of rows",
                )
            return original(self)

        return watched

    for kind, original in originals.items():
        kind.__bool__ = watching(original)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for kind, original in originals.items():
            kind.__bool__ = original  # type: ignore[method-assign]


@contextmanager
def _note_places(places: Places) -> Iterator[None]:
    """Note at every traced operation which of the candidate's code asked for it; count them."""
    original = PythonKeyTracer.create_node
    left = MAX_TRACED

    def create_node(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise CandidateError(
                "graph.size",
                f"the function takes over {MAX_TRACED:,} tensor operations; let one operation "
                "work on all agents at once instead of looping",
            )
        node = original(self, *args, **kwargs)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == FILE_NAME:
                node.meta["candidate_line"] = frame.f_lineno
                places.note(frame, node)
                break
            frame = frame.f_back
        return node

    PythonKeyTracer.create_node = create_node  # type: ignore[method-assign]
    try:
        yield
    finally:
        PythonKeyTracer.create_node = original  # type: ignore[method-assign]


class _Sizes(ShapeEnv):
    """The sizes of a trace, without where in the source each was asked about.

    torch would import export and compiler (0.2 s) to tell its own frames from the user's.
    """

    def _get_stack_summary(self, *_: Any, **__: Any) -> tuple[SLoc, str]:
        return SLoc(None, None), ""


def trace(
    function: Callable[..., Any],
    n_agents: int,
    state_dim: int,
    weights_form: bool,
    source: str = "",
) -> Any:
    """The candidate as an FX graph below autograd, checked against the contract's shapes.

    Args:
        function: the candidate as f(agent_qs, state).
        n_agents: columns of ``agent_qs``.
        state_dim: columns of ``state``.
        weights_form: whether it returns weights and bias.
        source: its text, from which operands of a failing expression are quoted.

    Raises:
        ExportError: it fails, branches on values, writes into its arguments, or returns something
            that is not (weights [B, n_agents], bias [B, 1]) or q_tot [B, 1].
    """
    environment = _Sizes()
    mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)

    # Equal sizes share one symbol (duck shaping), so both inputs have the same batch size.
    sizes = [DimDynamic.DUCK, DimDynamic.STATIC]
    inputs = [
        mode.from_tensor(
            torch.zeros(EXAMPLE_BATCH, width),
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes),
        )
        for width in (n_agents, state_dim)
    ]

    def checked(agent_qs: Tensor, state: Tensor) -> Any:
        return checked_result(function(agent_qs, state), n_agents, weights_form)

    places = Places()
    try:
        with mode, _refuse_branches_on_sizes(), _note_places(places):
            made = make_fx(
                functionalize(checked, remove="mutations"),
                tracing_mode="real",
                _allow_non_fake_inputs=True,
            )(*inputs)
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
        raise _with_operands(_explained(error, "export.error"), error, places, source) from None
    if environment.guards:
        raise ExportError(
            "export.batch", "the function works for some batch sizes only; treat every batch alike"
        )
    return made
