"""The warmed process that every candidate's child is forked from.

It is exec'd afresh (so it holds none of the parent's memory), stays single-threaded, sees no GPU,
imports and exercises everything once, and then only forks, reports and reaps. It never reads a
candidate: tasks travel straight from the parent to the child over their own pipes.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from sandbox.isolation import lockdown, namespaces

WARM_UP_SOURCE = """
def helper(x, scale):
    return torch.sigmoid(x * scale) + torch.tanh(x)

def tfcaf(state):
    x = state[:, 0:2]
    w = torch.zeros(state.shape[0], 2, dtype=state.dtype)
    w[:, 0] = torch.where(x[:, 0] == 1, 2.0, 1.0)
    w[x[:, 1] > 0, 1] = 3.0
    e = torch.einsum("bij,bj->bi", x.unsqueeze(1) * x.unsqueeze(2), x)
    hot = F.one_hot((x[:, 0].long() + 1).clamp(0, 3), 4).to(state.dtype)
    order, index = torch.sort(x, dim=1)
    w = F.softmax(w, dim=1) + helper(e, math.sqrt(2.0)) + order + x.matmul(torch.eye(2))
    return w, hot.mean(dim=1, keepdim=True) + torch.std(x, dim=1, keepdim=True)
"""
"""One of each kind of operation that torch treats in a way of its own; more only takes time."""


def warm_up(*, export: bool = True, errand: int | None = None) -> None:
    """Import and exercise what a check needs: nothing can be imported once a child is locked.

    Args:
        export: whether children will run sources, and not only judge graphs.
        errand: descriptor of a file with an errand of the parent's, which is run meanwhile.
    """
    gc.disable()  # nothing here is garbage, and looking for some costs a tenth of it all
    import sympy.sets.setexpr  # noqa: F401 - which sympy imports late
    import torch
    import torch._dynamo  # which torch imports at the first gradient that it has written in Python

    from sandbox.isolation import child, probe  # noqa: F401

    running = None if errand is None else _fork_errand(errand)
    torch.set_num_threads(1)
    _start_autograd()
    # It writes machine code for each new shape, which a locked child may not.
    torch.backends.mkldnn.set_flags(False)
    _forget_local_constants()
    graph = _warm_up_export() if export else _WARM_UP_GRAPH
    gc.freeze()  # Hypothesis collects garbage once
    _warm_up_judge(graph)
    if running is not None:
        os.waitpid(running, 0)
    gc.freeze()
    gc.enable()


def _start_autograd() -> None:
    """Compute a first gradient before any fake tensor is made.

    Autograd counts devices once, at its first gradient, and starts a thread for each; no gradient
    can be had in a fork after that. Where torch was built for CUDA, its fake tensors feign GPUs.
    """
    import torch

    x = torch.ones(1, requires_grad=True)
    torch.autograd.grad(x.sum(), x)


def _fork_errand(descriptor: int) -> int:
    """Run an errand in a fork, which has torch at no cost; its answer replaces the request.

    It is the parent's own code on the parent's own data, before there is any candidate. An errand
    that fails leaves the file empty.
    """
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, 65_536)
        with open(descriptor, "r+", encoding="utf-8") as file:
            request = json.load(file)
            file.seek(0)
            file.truncate()
            module, _, name = request["function"].partition(":")
            answer = getattr(importlib.import_module(module), name)(request["argument"])
            file.write(json.dumps(answer))
    finally:
        os._exit(0)


def _warm_up_export() -> dict[str, object]:
    """Run sources through the export, good ones and bad ones; a good one's graph."""
    from sandbox.isolation import child

    task = {
        "code": WARM_UP_SOURCE, "n_agents": 2, "state_dim": 2, "schema_hash": "", "kind": "check",
    }  # fmt: skip
    answer, function = child.judge(task)
    if function is None:
        raise RuntimeError(f"the warm-up program was refused: {answer['findings']}")
    child._evidence(function, [{"agent_qs": [[1.0, 2.0]], "state": [[0.0, 1.0]]}])
    # Each of these fails in its own way, and torch imports some of its error paths late.
    for body in (
        "return state @ state, state",
        "return state.view(-1, 3), state",
        "return state[:, 9], state",
        "return (state if state.sum() > 0 else -state), state",
        "return torch.cat([state, 1]), state",
        "return state + torch.zeros(5), state",
        "return state, state[:, :1, :1]",
    ):
        child.judge({**task, "code": f"def tfcaf(state):\n    {body}\n"})
    child.judge({**task, "code": "def tfcaf(agent_qs, state):\n    return agent_qs.sum(1, True)\n"})
    child.judge({**task, "code": "def tfcaf(agent_qs, state):\n    return ("})
    return dict(answer["graph"])


_WARM_UP_GRAPH: dict[str, object] = {
    "format": "qllm-credit-graph", "version": 1, "signature": "weights", "n_agents": 2,
    "state_dim": 2, "schema_hash": "", "gate": None, "constants": [],
    "operations": [
        {"op": "aten.exp.default", "args": [{"value": 1}]},
        {"op": "aten.sum.dim_IntList", "args": [{"value": 2}, [1], True]},
    ],
    "outputs": {"weights": {"value": 2}, "bias": {"value": 3}},
}  # fmt: skip


def _warm_up_judge(graph: dict[str, object]) -> None:
    """Judge a graph, with a failure to shrink, and write it out: libraries import late."""
    from prompts.cards import load_card
    from sandbox.config import GateConfig, SandboxConfig
    from sandbox.gate import apply_gate
    from sandbox.judging import TASKS
    from sandbox.reading import read_graph

    card = load_card("matrix/climbing")
    for mode in ("enforce", "relax"):
        task: dict[str, Any] = {
            "graph": graph,
            "card": card.model_dump(mode="json"),
            "gate": {"mode": mode},
            "config": SandboxConfig(examples=12).model_dump(mode="json"),
            "states": [],
            "evidence": None,
        }
        TASKS["judge"](task)
    gated = apply_gate(read_graph(graph), GateConfig(mode="enforce")).to_json()
    TASKS["mathematics"]({"graph": gated, "card": task["card"]})
    qs, states = [[1.0, 2.0]] * 2, [[0.0, 1.0]] * 2
    TASKS["rehearse"]({"graph": gated, "agent_qs": qs, "states": states, "rows": 3})


def _forget_local_constants() -> None:
    """Keep Hypothesis from drawing numbers that it finds in this project's source files.

    It would read the files when it first wants one, which a locked child may not, and what it draws
    would change with every edit of ours.
    """
    from hypothesis.internal.conjecture import providers

    if hasattr(providers, "_get_local_constants"):
        nothing = providers.Constants()
        providers._get_local_constants = lambda: nothing


def _prepare_namespaces() -> dict[str, str]:
    """Enter namespaces of our own; the layers that cannot be had, each with the reason."""
    try:
        namespaces.enter()
    except OSError as error:
        reason = error.strerror or str(error)
        return {"namespaces": reason, "empty_root": "needs a mount namespace"}
    return {}


def _prepare_empty_root(missing: dict[str, str]) -> None:
    """Mount what children take as their root; late, since warming up reads files under it."""
    if "empty_root" in missing:
        return
    try:
        namespaces.mount_empty_root()
    except OSError as error:
        missing["empty_root"] = error.strerror or str(error)


def _cage(limits: dict[str, int], missing: dict[str, str], zygote: int) -> lockdown.Cage:
    try:
        mapped = lockdown.mapped_bytes()
    except OSError as error:
        missing = {**missing, "rlimits": f"the mapped memory is unknown: {error.strerror}"}
        mapped = 0
    return lockdown.Cage(lockdown.Limits(**limits), zygote, mapped, missing)


def _fork(descriptors: list[int], limits: dict[str, int], missing: dict[str, str]) -> int:
    """Fork a child that owns the two descriptors and runs one task."""
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        with contextlib.suppress(OSError):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        cage = _cage(limits, missing, zygote)
        # By way of high numbers, since either descriptor may have the other's new one.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in descriptors]
        os.dup2(high[0], lockdown.READ_FD)
        os.dup2(high[1], lockdown.WRITE_FD)
        from sandbox.isolation import child

        child.run(cage)
    except BaseException:  # noqa: BLE001 - a child must never return into the zygote's loop
        os._exit(3)
    os._exit(0)


def serve(control: socket.socket, parent: int, missing: dict[str, str]) -> None:
    """Answer until the parent closes the socket or dies: fork, reap.

    ``parent`` is a handle of it: processes that it forked may hold the socket open longer than it
    lives.
    """
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(parent, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if parent in ready:
            return
        data, fds, _, _ = socket.recv_fds(control, 65_536, 4)
        if not data:
            return
        request = json.loads(data)
        if request["do"] == "fork":
            pid = _fork(fds, request["limits"], missing)
            for fd in fds:
                os.close(fd)
            handle = os.pidfd_open(pid)
            socket.send_fds(control, [json.dumps({"pid": pid}).encode()], [handle])
            os.close(handle)
        elif request["do"] == "reap":
            _, status = os.waitpid(request["pid"], 0)
            control.send(json.dumps({"status": status}).encode())


def main() -> None:
    """Entry of the exec'd zygote.

    Its arguments are the control socket's descriptor, the parent's pid, what it warms up for
    (``export`` or ``judge``), and the descriptor of an errand's file if there is one.

    It ends when the parent closes the socket or dies, and its children die with it.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.pidfd_open(int(sys.argv[2]))
    if os.getppid() != int(sys.argv[2]):
        return
    missing = _prepare_namespaces()
    errand = int(sys.argv[4]) if len(sys.argv) > 4 else None
    warm_up(export=sys.argv[3] == "export", errand=errand)
    _prepare_empty_root(missing)
    control.send(json.dumps({"ready": os.getpid()}).encode())
    serve(control, parent, missing)
    os._exit(0)  # taking down torch's modules one by one costs half a second
