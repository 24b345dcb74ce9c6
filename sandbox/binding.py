"""What the parameters of a credit function stand for: by their names, never by their places."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence

AGENT_QS_NAMES = (
    "agent_qs agents_q agents_qs agent_q agent_q_values agents_q_values q_values qvals qs q "
    "local_q local_qs individual_q individual_qs agent_values"
).split()
STATE_NAMES = "state states global_state global_states s obs_state env_state".split()
_SHOWN_VIEWS = 6


class BindingError(ValueError):
    """The parameters are none that a credit function is given; the message says what there is."""


def add_forgotten(entry: ast.FunctionDef, tree: ast.Module, views: Mapping[str, str]) -> list[str]:
    """Add what the entry reads under its documented name, and nothing sets, to its parameters.

    ``B``, the documented name of the number of rows, is set at its beginning.

    Args:
        entry: the credit function, which is changed.
        tree: the whole source.
        views: names of the task's views.

    Returns:
        The names that were added.
    """
    a = entry.args
    if a.vararg or a.kwarg or a.kwonlyargs or a.posonlyargs:
        return []
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    bound = {n.id for n in found if not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    read = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)} - bound
    if "B" in read and a.args:
        rows = ast.parse(f"B = {a.args[0].arg}.shape[0]").body[0]
        for node in ast.walk(rows):
            ast.copy_location(node, entry.body[0])
        entry.body.insert(0, rows)
    given = {_stands_for(p.arg, views) for p in a.args}
    added = [name for name in ("agent_qs", "state", *views) if name in read and name not in given]
    for name in added:
        at = 0 if name == "agent_qs" else len(a.args) - len(a.defaults)
        a.args.insert(at, ast.copy_location(ast.arg(name), entry))
    return list(dict.fromkeys(added))


def bind(
    entry: ast.FunctionDef, functions: Sequence[ast.FunctionDef], views: Mapping[str, str]
) -> tuple[str, ...]:
    """What the entry's parameters without defaults stand for, in their order.

    Args:
        entry: the credit function.
        functions: all of them; one that fits is named where the entry does not.
        views: names of the task's views, and each one's shape in words.

    Returns:
        ``agent_qs``, ``state`` and names of views.

    Raises:
        BindingError: a parameter is none of these, stands for what another one does, or is of a
            kind that nothing binds to.
    """
    bound = _parameters(entry, views)
    if bound is not None:
        return bound
    taken = ast.unparse(entry.args)[:100]
    why = "" if entry.name == "tfcaf" else " is the last function, so it"
    message = f"`{entry.name}`{why} counts as the credit function, but it takes ({taken}); "
    fitting = [f.name for f in functions if f is not entry and _parameters(f, views) is not None]
    if fitting:
        raise BindingError(f"{message}put `{fitting[-1]}` after it, at the end")
    raise BindingError(message + _remedy(entry, views))


def _parameters(function: ast.FunctionDef, views: Mapping[str, str]) -> tuple[str, ...] | None:
    """What the parameters without defaults stand for; ``None`` where they do not fit."""
    a = function.args
    if a.vararg or a.kwarg or a.kwonlyargs or a.posonlyargs:
        return None
    names = [p.arg for p in a.args[: len(a.args) - len(a.defaults)]]
    bound = [_stands_for(name, views) for name in names]
    known = [name for name in bound if name is not None]
    if len(known) < len(bound) or len(set(known)) < len(known) or set(known) <= {"agent_qs"}:
        return None
    return tuple(known)


def _stands_for(name: str, views: Mapping[str, str]) -> str | None:
    if name in ("agent_qs", "state") or name in views:
        return name
    if name in AGENT_QS_NAMES:
        return "agent_qs"
    if name in STATE_NAMES:
        return "state"
    alike = [view for view in views if _singular(view) == _singular(name)]
    return alike[0] if len(alike) == 1 else None


def _singular(name: str) -> str:
    """A name whose words have lost a plural's s: ``agents_positions`` is ``agent_position``."""
    return "_".join(word.removesuffix("s") for word in name.split("_"))


def _remedy(entry: ast.FunctionDef, views: Mapping[str, str]) -> str:
    names = [p.arg for p in entry.args.args]
    unknown = next((n for n in names if _stands_for(n, views) is None), None)
    near = difflib.get_close_matches(unknown or "", views, n=1, cutoff=0.6)
    hint = f"there is no `{unknown}`: did you mean `{near[0]}`? " if near else ""
    shown = ", ".join(f"{name} {shape}" for name, shape in list(views.items())[:_SHOWN_VIEWS])
    parts = f"; in place of `state`, parts of it by name: {shown}" if shown else ""
    return (
        f"{hint}the credit function takes `(state)` and returns (weights, bias), or takes "
        "`(agent_qs, state)` and returns q_tot: these names and no others; write further "
        f"values, such as n_agents, into it as numbers{parts}"
    )
