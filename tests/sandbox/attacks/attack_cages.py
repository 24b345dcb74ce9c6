"""What runs in a zygote's children in place of, or around, the product's own judge.

Only tests use it. ``bare`` puts on no layer, claims that all are on, and runs a source as ordinary
Python, so that tests can put layers on one by one. ``policy`` takes the operating-system layers
away and watches the language wall from within the process; ``system`` keeps the layers and gives
the candidate Python's builtins, the real torch module and no policy at all.
"""

from __future__ import annotations

import ast
import builtins
import math
import resource
import sys
import types
from typing import Any

import torch
import torch.nn.functional

from sandbox import export, facade, guards
from sandbox.isolation import child, lockdown, zygote

FILE_NAME = "<candidate>"

# Audit events that are an effect whoever causes them, once the process is warm.
_EFFECTS = (
    "open", "os.", "socket.", "subprocess.", "shutil.", "ctypes.", "mmap.", "pty.", "tempfile.",
    "glob.", "fcntl.", "resource.", "signal.", "urllib.", "http.", "pickle.", "marshal.", "syslog.",
    "import", "builtins.input", "sys.addaudithook", "sys.settrace", "sys.setprofile",
)  # fmt: skip
# Events that are an effect when the candidate, or a guard on its behalf, causes them.
_REFLECTION = ("object.", "code.__new__", "function.__new__", "compile", "gc.", "sys._", "cpython.")


class Watch:
    """Notes audit events of a candidate's run."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.armed = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or len(self.events) > 20:
            return
        self.armed = False  # what the hook does itself is no event
        caller = sys._getframe(1).f_code.co_filename
        direct = caller in (FILE_NAME, facade.__file__, guards.__file__)
        if (event.startswith(_EFFECTS) and not _harmless(event, arguments)) or (
            event.startswith(_REFLECTION) and direct
        ):
            self.events.append(f"{event} {[str(a)[:60] for a in arguments[:2]]}")
        self.armed = True


def _harmless(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "import":
        return str(arguments[0]) in sys.modules
    # CPython looks for the text of a syntax error in a file of the source's name, which is fixed.
    return event == "open" and arguments[0] == FILE_NAME and arguments[1] == "rb"


def _global_state() -> dict[str, Any]:
    """What a candidate could leave behind for the next one, as far as it can be seen."""
    holders = {
        "torch": vars(torch), "F": vars(torch.nn.functional), "Tensor": vars(torch.Tensor),
        "TensorBase": vars(torch._C.TensorBase), "math": vars(math), "builtins": vars(builtins),
        "SymBool": vars(torch.SymBool), "SymInt": vars(torch.SymInt), "facade": vars(facade),
        "guards": vars(guards),
        "export": vars(export), "child": vars(child), "modules": sys.modules,
    }  # fmt: skip
    state = {f"{h}.{k}": id(v) for h, d in holders.items() for k, v in dict(d).items()}
    state["dtype"] = torch.get_default_dtype()
    state["grad"] = torch.is_grad_enabled()
    state["deterministic"] = torch.are_deterministic_algorithms_enabled()
    state["threads"] = torch.get_num_threads()
    state["random"] = torch.random.get_rng_state().tolist()
    state["limits"] = (sys.getrecursionlimit(), sys.getswitchinterval())
    return state


_PLAIN = (
    torch.Tensor, int, float, str, bool, type(None), list, tuple, dict, set, slice, range,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, guards.Namespace, torch.SymInt,
    torch.SymBool, torch.SymFloat, torch.dtype, torch.device, types.GeneratorType,
)  # fmt: skip
_HANDED_OUT = (dict, set, slice, enumerate, reversed, zip)


def _loot(namespace: dict[str, Any]) -> list[str]:
    """What the candidate got hold of that it was not handed."""
    found: list[str] = []
    own = set(facade.make_namespace())
    stack = [v for k, v in namespace.items() if k not in own]
    seen: set[int] = set()
    while stack and len(seen) < 100_000:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if any(value is kind for kind in _HANDED_OUT):
            continue
        if isinstance(value, (list, tuple, set)):
            stack += list(value)[:1000]
        elif isinstance(value, dict):
            stack += [*value.keys(), *value.values()][:1000]
        elif isinstance(value, types.FunctionType):
            if value.__code__.co_filename not in (FILE_NAME, facade.__file__, guards.__file__):
                found.append(f"function {value.__qualname__}")
        elif isinstance(value, types.BuiltinFunctionType):
            if not (value.__self__ is builtins or isinstance(value.__self__, (list, dict, tuple))):
                found.append(f"builtin {value.__qualname__}")
        elif not isinstance(value, _PLAIN):
            found.append(f"{type(value).__name__} {str(value)[:60]}")
    return found[:5]


NO_POLICY = "# no policy\n"
"""A source that starts so is run as ordinary Python, to see that the watch sees."""


def _without_policy(code: str) -> tuple[dict[str, Any], Any]:
    namespace = export.make_namespace()
    namespace |= {"torch": torch, "__builtins__": vars(builtins)}
    exec(compile(code, FILE_NAME, "exec"), namespace)  # noqa: S102 - a control, ours

    def call(agent_qs: torch.Tensor, state: torch.Tensor) -> Any:
        return namespace["tfcaf"](state)

    return {"findings": []}, call


class _PolicyJudge:
    """The product's judge, watched."""

    def __init__(self) -> None:
        self.judge = child.judge

    def __call__(self, task: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        namespaces: list[dict[str, Any]] = []
        make = facade.make_namespace

        def remember() -> dict[str, Any]:
            namespaces.append(make())
            return namespaces[-1]

        watch = Watch()
        before = _global_state()
        export.make_namespace = remember
        watch.armed = True
        if task["code"].startswith(NO_POLICY):
            answer, function = _without_policy(task["code"])
        else:
            answer, function = self.judge(task)
        if function is not None:
            qs, state = torch.ones(3, task["n_agents"]), torch.ones(3, task["state_dim"])
            try:
                function(qs, state)
            except Exception as error:  # noqa: BLE001 - only effects count here
                answer["eager"] = f"{type(error).__name__}: {str(error)[:200]}"
            if not bool((state == 1).all() and (qs == 1).all()):
                watch.events.append("the arguments were written into")
        watch.armed = False
        export.make_namespace = make
        after = _global_state()
        changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
        answer["effects"] = watch.events + [f"changed {k}" for k in changed[:5]]
        answer["effects"] += [f"got {x}" for n in namespaces for x in _loot(n)]
        answer["graph"] = None
        return answer, None


CAGE: list[lockdown.Cage] = []


def _run_raw(task: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Run a source as ordinary Python, with everything, and tell what it got hold of."""
    namespace: dict[str, Any] = {
        "torch": torch, "F": torch.nn.functional, "math": math, "__name__": FILE_NAME, "CAGE": CAGE,
    }  # fmt: skip
    said = ""
    try:
        tree = ast.parse(task["code"])
        exec(compile(tree, FILE_NAME, "exec"), namespace)  # noqa: S102 - that is the attack
        entry = next(n for n in reversed(tree.body) if isinstance(n, ast.FunctionDef))
        namespace[entry.name](torch.ones(3, task["state_dim"]))
    except Exception as error:  # noqa: BLE001 - whatever an attack runs into is an outcome
        said = f"{type(error).__name__}: {str(error)[:200]}"
    try:
        loot = str([str(x)[:2000] for x in namespace.get("LOOT", [])][:20])
    except Exception as error:  # noqa: BLE001 - torch imports a part of its own to print tensors
        loot = f"not to be printed: {type(error).__name__}"
    return {"findings": [], "graph": None, "loot": loot, "said": said}, None


def _only_protect_the_machine(cage: lockdown.Cage) -> dict[str, str]:
    """No layer at all; memory and processor time stay bounded, for the machine's sake."""
    memory = cage.mapped + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    return {}


def _claim_everything(cage: lockdown.Cage) -> dict[str, str]:
    CAGE.append(cage)
    return {name: "on" for name, _ in lockdown.LAYERS}


def main(kind: str) -> None:
    """Run a zygote whose children are of a kind: ``bare``, ``policy`` or ``system``."""
    warm_up = zygote.warm_up

    def warm_up_and_change(**kwargs: bool) -> None:
        warm_up(**kwargs)
        if kind == "policy":
            child.judge = _PolicyJudge()
            lockdown.lock_down = _only_protect_the_machine
        else:
            child.judge = _run_raw
            if kind == "bare":
                lockdown.lock_down = _claim_everything

    zygote.warm_up = warm_up_and_change
    zygote.main()
