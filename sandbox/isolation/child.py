"""What runs in a candidate's child process: lock down, judge, export, answer, evaluate, exit."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import torch

from sandbox.export import describe, load, trace
from sandbox.export_json import ExportError, to_json
from sandbox.findings import PolicyError
from sandbox.isolation import lockdown, wire
from sandbox.judging import TASKS
from sandbox.meant import RowsLinedUp, as_meant
from sandbox.policy import CheckedSource, check_source


def _finding(stage: str, rule: str, message: str, line: int | None) -> dict[str, Any]:
    return {"stage": stage, "rule": rule, "message": message, "line": line}


def judge(task: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The answer about one candidate, and its function where there is one.

    The answer holds ``findings`` (empty when exported), ``graph``, ``seconds`` per stage and
    ``notes`` on what was read as meant.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[name] = now - started
        started = now

    notes: list[str] = []

    def answer(findings: list[dict[str, Any]], graph: Any = None) -> dict[str, Any]:
        told = list(dict.fromkeys(notes))
        return {"findings": findings, "graph": graph, "seconds": seconds, "notes": told}

    views = task.get("views", {})
    shapes = {name: v["text"] for name, v in views.items()}
    try:
        checked = check_source(task["code"], shapes)
    except PolicyError as error:
        lap("policy")
        return answer([_finding("policy", f.rule, f.message, f.line) for f in error.findings]), None
    lap("policy")
    try:
        written = load(checked, views)
    except ExportError as error:
        lap("compile")
        return answer([_finding("compile", error.rule, error.message, error.line)]), None
    lap("compile")
    try:
        graph, function = _exported(written, checked, task, notes)
    except ExportError as error:
        try:  # so that nothing that works is read otherwise
            checked = check_source(task["code"], shapes, forgetful=True)
            notes[:] = checked.notes
            written = load(checked, views)
            graph, function = _exported(written, checked, task, notes, lined_up=True)
        except (PolicyError, ExportError):
            lap("export")
            notes.clear()
            return answer([_finding("export", error.rule, error.message, error.line)]), None
    lap("export")
    return answer([], graph), function


def _exported(
    written: Any,
    checked: CheckedSource,
    task: dict[str, Any],
    notes: list[str],
    *,
    lined_up: bool = False,
) -> tuple[Any, Any]:
    """A candidate's graph as a document, and the candidate with its results as they are meant.

    Raises:
        ExportError: there is no graph.
    """
    weights_form = "agent_qs" not in checked.parameters
    n_agents, state_dim = task["n_agents"], task["state_dim"]

    def function(agent_qs: torch.Tensor, state: torch.Tensor) -> Any:
        with RowsLinedUp(state.shape[0], notes) if lined_up else nullcontext():
            returned = written(agent_qs, state)
        return as_meant(returned, n_agents, weights_form, state.shape[0], notes)

    try:
        made = trace(function, n_agents, state_dim, weights_form, task["code"])
        graph = to_json(made, n_agents, state_dim, task["schema_hash"], weights_form)
    except ExportError:
        raise
    except Exception as error:  # noqa: BLE001 - an answer with a reason, whatever was traced
        said = f"it cannot be written as a graph: {describe(error)}"
        raise ExportError("export.error", said) from None
    return graph, function


def _evidence(function: Any, inputs: list[dict[str, Any]]) -> list[Any]:
    """The candidate's own eager results on inputs that were drawn after its graph was sent."""
    results = []
    for pair in inputs:
        qs, state = torch.tensor(pair["agent_qs"]), torch.tensor(pair["state"])
        result = function(qs, state)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        results.append([[[repr(float(x)) for x in row] for row in o.tolist()] for o in outputs])
    return results


def _worked(task: dict[str, Any]) -> dict[str, Any]:
    """A graph's task done, or why it could not be."""
    try:
        return TASKS[task["kind"]](task)
    except MemoryError:
        return _refused("isolation.memory", "it takes too much memory")
    except Exception as error:  # noqa: BLE001 - whatever a graph brings about is a verdict
        said = " ".join(str(error).split())[:300]
        if "allocate memory" in said:
            return _refused("isolation.memory", "it takes too much memory")
        return _refused("graph.error", f"it cannot be judged: {type(error).__name__}: {said}")


def _refused(rule: str, message: str) -> dict[str, Any]:
    return {"refused": {"rule": rule, "message": message}}


def run(cage: lockdown.Cage) -> None:
    """Lock this process down, then serve exactly one task on the two descriptors it keeps."""
    layers = lockdown.lock_down(cage)
    wire.send(lockdown.WRITE_FD, {"layers": layers})
    task = wire.receive(lockdown.READ_FD)
    if task["kind"] == "probe":
        from sandbox.isolation.probe import attempt

        wire.send(lockdown.WRITE_FD, {"result": attempt(task["what"])})
        return
    if task["kind"] in TASKS:
        wire.send(lockdown.WRITE_FD, _worked(task))
        return
    answer, function = judge(task)
    wire.send(lockdown.WRITE_FD, answer)
    if function is not None:
        inputs = wire.receive(lockdown.READ_FD)
        try:
            reply: dict[str, Any] = {"results": _evidence(function, inputs["inputs"])}
        except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
            reply = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        wire.send(lockdown.WRITE_FD, reply)
