"""How well a model writes credit functions: first replies, repairs, and how different they are.

Every first reply is followed as a search would follow it: up to ``repairs`` corrections with the
sandbox's feedback, those of all replies going out together. What was asked and answered is kept in
a file, a line a reply, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.protocol import ChatModel, Completion, Constraint, Message
from prompts.cards import TaskCard
from prompts.render import CoderPrompts
from sandbox.checker import Sandbox
from sandbox.isolation.host import ChildFailure
from sandbox.report import CheckReport
from synth.control import ControlPoll
from synth.conversation import Conversation, SlotConversation
from synth.requests import RequestSender, SearchRequest, Stopwatch
from synth.wave import run_wave

GateMode = Literal["enforce", "relax"]
_ALIKE = 1e-3
"""Largest difference of credit, in units of its mean, that still counts as the same."""


@dataclass(frozen=True)
class Attempt:
    """One reply of a chain: what was written, and the sandbox's verdict."""

    text: str
    verdict: str
    stage: str
    rule: str | None
    tokens: int
    seconds: float
    """Its share of the time in which this and the other replies of its wave were written."""
    graph_hash: str | None = None
    credit: tuple[tuple[float, ...], ...] = ()
    """d q_tot / d Q_i ``[N, n_agents]`` at the task's states; empty where it was refused."""


@dataclass
class Chain:
    """A first reply and its corrections."""

    task: str
    constraint: str
    index: int
    prompt: str
    """Hash of the opening messages: a chain counts for these only."""
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def accepted_at(self) -> int | None:
        """How many corrections it took; None where it was never accepted."""
        found = (i for i, a in enumerate(self.attempts) if a.verdict == "accepted")
        return next(found, None)


@dataclass(frozen=True)
class Writing:
    """How a task is put to the model."""

    card: TaskCard
    prompts: CoderPrompts
    constraint: Constraint | None
    states: Sequence[Sequence[float]]
    """Real states, ``[N, state_dim]``: functions are tried and compared on them."""


class CoderBench:
    """Asks a model for functions and judges them.

    Args:
        model: who is asked.
        sandbox: who judges.
        constraint: name of the constraint, for the record.
        repairs: most corrections of a reply.
        seed: of the first reply; reply i has seed + i.
        temperature: of sampling.
        max_tokens: of a reply.
        path: file of finished chains; None keeps nothing.
        say: told a line for every reply and every finished chain.
    """

    def __init__(
        self,
        model: ChatModel,
        sandbox: Sandbox,
        *,
        constraint: str = "none",
        repairs: int = 2,
        seed: int = 0,
        temperature: float = 0.7,
        max_tokens: int = 1024,
        path: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._model, self._sandbox, self._constraint = model, sandbox, constraint
        self._repairs, self._seed = repairs, seed
        self._temperature, self._max_tokens = temperature, max_tokens
        self._path, self._say = path, say
        self._kept = list(_read(path)) if path is not None and path.exists() else []

    def run(self, writing: Writing, n: int, gate: GateMode = "enforce") -> list[Chain]:
        """``n`` chains for a task, those that were finished before among them.

        Raises:
            ModelError: no reply can be had.
        """
        conversation = Conversation(writing.prompts, memory=0)
        opening = conversation.opening(gate)
        said = repr((self._model.name, [*opening[0].messages]))
        digest = hashlib.sha256(said.encode()).hexdigest()[:16]
        task, known = writing.card.name, {}
        for chain in self._kept:
            if (chain.task, chain.constraint, chain.prompt) == (task, self._constraint, digest):
                known[chain.index] = chain
        missing = [i for i in range(n) if i not in known]
        if missing:
            open_ = {i: Chain(task, self._constraint, i, digest) for i in missing}
            with ThreadPoolExecutor(1) as pool:
                self._follow(writing, conversation, gate, open_, pool)
            known.update(open_)
        return [known[i] for i in range(n)]

    def _follow(
        self,
        writing: Writing,
        conversation: Conversation,
        gate: GateMode,
        chains: dict[int, Chain],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Ask and judge in waves, as a search does: all first replies, then all corrections."""
        control = ControlPoll(lambda: "continue")
        sender = RequestSender(self._model, lambda _: None, control)
        slots = dict.fromkeys(chains, SlotConversation(conversation.opening(gate)))
        # One request for all first replies: a local model reads the prompt once.
        base, span = min(chains), max(chains) - min(chains) + 1
        requests = [self._request(writing, slots[base], 0, None, base, span)]
        for repair in range(self._repairs + 1):
            refused: dict[int, SlotConversation] = {}
            done: dict[int, tuple[Completion, CheckReport]] = {}
            clock = Stopwatch("model", "check")
            total = sum(request.n for request in requests)
            come = itertools.count(1)

            def tell(
                reply: Completion, _: int, of: int = total, come: Iterator[int] = come
            ) -> None:
                task = writing.card.name
                self._say(f"{task}: reply {next(come)} of {of}, {reply.completion_tokens} tokens")

            def keep(
                slot: int,
                reply: Completion,
                report: CheckReport,
                done: dict[int, tuple[Completion, CheckReport]] = done,
            ) -> None:
                done[slot] = reply, report

            run_wave(
                requests,
                sender,
                lambda text: self._sandbox.check(text, writing.card, states=writing.states),
                gate,
                pool,
                control,
                clock,
                on_reply=tell,
                on_checked=keep,
            )
            each = clock.seconds["model"] / max(1, len(done))
            for slot, (reply, report) in done.items():
                index = slot if repair else base + slot
                if index not in slots:
                    continue  # it was finished before, between two that were not
                chains[index].attempts.append(self._attempt(writing, reply, report, each))
                if report.accepted or repair == self._repairs:
                    self._keep(chains[index])
                    continue
                text = conversation.correction(reply, report, self._max_tokens)
                refused[index] = slots[index].answered(
                    reply.text, Message("user", text), conversation.afresh(gate, text), report.code
                )
            if not refused:
                return
            slots = refused
            requests = [
                self._request(writing, asked, repair + 1, index, index, 1)
                for index, asked in refused.items()
            ]

    def _request(
        self,
        writing: Writing,
        asked: SlotConversation,
        repair: int,
        slot: int | None,
        index: int,
        n: int,
    ) -> SearchRequest:
        return SearchRequest(
            role="coder",
            round=0,
            slot=slot,
            repair=repair,
            conversation=f"s{slot}",
            variants=asked.opening if slot is None else asked.variants(),
            n=n,
            seed=self._seed + index,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            constraint=writing.constraint,
        )

    def _attempt(
        self, writing: Writing, reply: Completion, report: CheckReport, seconds: float
    ) -> Attempt:
        credit: tuple[tuple[float, ...], ...] = ()
        if report.graph is not None:
            states = [list(s) for s in writing.states]
            rng = np.random.default_rng(0)
            qs = rng.uniform(-1, 1, (len(states), writing.card.n_agents)).tolist()
            try:
                weights, _ = self._sandbox.credit(report.graph, writing.card, qs, states, 0)
                credit = tuple(tuple(round(w, 6) for w in row) for row in weights)
            except ChildFailure:
                credit = ()
        return Attempt(
            reply.text,
            report.verdict,
            report.stage,
            report.rule,
            reply.completion_tokens,
            round(seconds, 3),
            report.graph_hash,
            credit,
        )

    def _keep(self, chain: Chain) -> None:
        last = chain.attempts[-1]
        how = f"after {chain.accepted_at} repairs" if chain.accepted_at else "at once"
        said = f"accepted {how}" if last.verdict == "accepted" else f"refused ({last.rule})"
        self._say(f"{chain.task} {chain.constraint} {chain.index}: {said}")
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(chain)) + "\n")


def _read(path: Path) -> Iterator[Chain]:
    """Finished chains of earlier calls; a last line that was cut short is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            data: dict[str, Any] = json.loads(line)
            attempts = [
                Attempt(**{**a, "credit": tuple(map(tuple, a["credit"]))})
                for a in data.pop("attempts")
            ]
            yield Chain(**data, attempts=attempts)
        except (ValueError, TypeError, KeyError):
            continue


def summary(chains: Sequence[Chain]) -> dict[str, Any]:
    """What a table says of the chains of one task and constraint.

    Returns:
        ``accepted_first`` and ``accepted`` (shares of all chains), ``refusals`` of first replies by
        rule, ``distinct_graphs`` and ``distinct_meanings`` among the accepted functions,
        ``non_trivial`` (those whose credit depends on the state), ``tokens`` and ``seconds`` an
        accepted function.
    """
    done = [c for c in chains if c.accepted_at is not None]
    functions = [c.attempts[-1] for c in done]
    tokens = sum(a.tokens for c in chains for a in c.attempts)
    seconds = sum(a.seconds for c in chains for a in c.attempts)
    refused = Counter(c.attempts[0].rule for c in chains if c.accepted_at != 0)
    each = max(1, len(done))
    return {
        "task": chains[0].task,
        "constraint": chains[0].constraint,
        "n": len(chains),
        "accepted_first": sum(c.accepted_at == 0 for c in chains) / len(chains),
        "accepted": len(done) / len(chains),
        "refusals": {str(rule): count for rule, count in refused.most_common()},
        "distinct_graphs": len({a.graph_hash for a in functions}),
        "distinct_meanings": distinct([a.credit for a in functions]),
        "non_trivial": sum(_depends_on_state(a.credit) for a in functions),
        "tokens_per_function": tokens / each if done else None,
        "seconds_per_function": seconds / each if done else None,
    }


def distinct(functions: Sequence[Sequence[Sequence[float]]]) -> int:
    """How many functions assign different credit, those of a constant factor being alike."""
    kept: list[np.ndarray] = []
    for credit in functions:
        values = np.asarray(credit, dtype=float)
        size = float(np.abs(values).mean()) if values.size else 0.0
        values = values / size if size > 0 else values
        if not any(
            values.shape == other.shape and np.abs(values - other).max(initial=0.0) < _ALIKE
            for other in kept
        ):
            kept.append(values)
    return len(kept)


def _depends_on_state(credit: Sequence[Sequence[float]]) -> bool:
    """Whether some agent's credit differs between states."""
    rows = np.asarray(credit, dtype=float)
    return len(rows) > 1 and bool(np.abs(rows - rows[0]).max() > _ALIKE)
