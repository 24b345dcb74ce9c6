"""The coder-evaluator loop (QLLM, Algorithm 1), with feedback where the paper asks again blindly.

Each of T rounds asks the coder for K candidates in one request. The sandbox checks every reply; a
refused one goes back to the coder with the reason, up to R times, and so does one that computes
the same function as an earlier candidate. The evaluator then selects one function, which becomes
the coder's memory together with one piece of advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from models.protocol import Completion, Message
from prompts.cards import TaskCard
from synth import events
from synth.approval import Answer, Person, wait_for
from synth.budget import Budget
from synth.candidates import (
    Candidate,
    count_by_stage,
    most_promising,
    rejections_by_rule,
    rejections_in_words,
)
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.control import ControlPoll, Interrupted
from synth.conversation import Conversation, SlotConversation
from synth.evaluator import Judgement
from synth.gating import GateSearch
from synth.requests import RequestSender, SearchRequest, Stopwatch
from synth.seeds import derive_seed
from synth.wave import run_wave

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from sandbox.report import CheckReport


def synthesise(card: TaskCard, config: SynthConfig, context: SearchContext) -> SynthesisResult:
    """Search for a credit function.

    Every request's seed derives from ``config.seed`` and its place (round, slot, repair), so the
    search repeats itself with the same coder, sandbox and evaluator.

    Args:
        card: The task; names it in messages.
        config: How much to ask for.
        context: what it works with.

    Raises:
        ModelError: the coder cannot answer. What was checked before has been emitted.
    """
    with ThreadPoolExecutor(context.workers, thread_name_prefix="check") as pool:
        return _Search(card, config, context, pool).run()


class _Search:
    """One synthesis under way."""

    def __init__(
        self, card: TaskCard, config: SynthConfig, context: SearchContext, pool: ThreadPoolExecutor
    ) -> None:
        self.card, self.config, self.context, self.pool = card, config, context, pool
        self.emit, self.evaluator, self.render = context.emit, context.evaluator, context.render
        self.control_poll = context.control_poll or ControlPoll(context.control)
        self.clock = Stopwatch("model", "check", "evaluate", "person", "check_work")
        self.sender = RequestSender(context.coder, self.emit, self.control_poll)
        self.conversation = Conversation(context.render, config.memory)
        self.budget = context.budget or Budget(config)
        self.candidates: list[Candidate] = []
        self.first_with: dict[str, str] = {}
        """Graph hash -> key of the first candidate that computes this function."""
        self.rejected: set[str] = set()
        """Graph hashes that a person does not want."""
        self.best: Candidate | None = None
        self.reason = ""
        self.decided = False
        self.judged = 0
        self.spent = ""
        """Why no further request goes out; empty while there is budget."""
        self.settled = not isinstance(context.gate, GateSearch)
        self.gate: GateMode = "enforce" if isinstance(context.gate, GateSearch) else context.gate

    def run(self) -> SynthesisResult:
        status: Literal["finished", "stopped"] = "finished"
        try:
            if isinstance(self.context.gate, GateSearch):
                with self.clock.running("evaluate"):
                    self.gate = self.context.gate.first_guess(self.emit)
            for round_ in range(self.config.rounds):
                self.control_poll.checkpoint()
                if (self.control_poll.last_round and self.judged) or self._spent(round_, 0):
                    break
                self._round(round_)
                if self.control_poll.last_round:
                    break
        except Interrupted:
            status = "stopped"
        return self._result(status)

    def _result(self, status: Literal["finished", "stopped"]) -> SynthesisResult:
        none = not any(c.accepted for c in self.candidates)
        result = SynthesisResult(
            status=status,
            selected=self.best,
            reason=self._last_word(status),
            gate=self.gate,
            candidates=tuple(self.candidates),
            rounds=self.judged,
            rejections=rejections_by_rule(self.candidates),
            stages=count_by_stage(c for c in self.candidates if c.slot < self.config.candidates),
            most_promising=most_promising(self.candidates) if none else None,
            decided=self.decided,
            pilot_steps=self.evaluator.pilot_steps,
            pilot_updates=self.evaluator.pilot_updates,
            tokens=self.budget.tokens,
            seconds=dict(self.clock.seconds),
        )
        self.emit(
            events.SynthesisFinished(
                status=status,
                selected=self.best.key if self.best else None,
                reason=result.reason,
                rejections=result.rejections,
                stages=result.stages,
                most_promising=result.most_promising.key if result.most_promising else None,
                pilot_steps=result.pilot_steps,
                seconds=result.seconds,
            )
        )
        return result

    def _last_word(self, status: str) -> str:
        ended = f"; {self.spent}" if self.spent else ""
        if self.best is not None or any(c.accepted for c in self.candidates):
            return (self.reason or f"{status} before any round was judged") + ended
        if not self.candidates:
            return self.spent or "stopped before the first candidate was checked"
        count = len(self.candidates)
        return (
            f"none of {count} candidates for {self.card.name} was accepted: "
            f"{rejections_in_words(self.candidates)}{ended}"
        )

    def _spent(self, round_: int, repair: int) -> bool:
        reason = self.budget.spent(round_, repair)
        if reason and not self.spent:
            self.spent = reason
            self.emit(events.BudgetSpent(round_, repair, reason))
        return bool(reason)

    def _round(self, round_: int) -> None:
        config = self.config
        self.emit(events.RoundStarted(round_, config.rounds, config.candidates))
        before = len(self.candidates)
        if round_ == 0:
            self._start()
        self._write(round_)
        self.control_poll.checkpoint()
        if not self.settled:
            self._settle_gate(round_)
        mine = self.candidates[before:]
        fresh = [c for c in mine if c.accepted and c.duplicate_of is None]
        self._close(round_, mine, self._judgement(round_, fresh, mine))

    def _judgement(
        self, round_: int, fresh: Sequence[Candidate], mine: Sequence[Candidate]
    ) -> Judgement:
        """The evaluator's, and a person's where one is asked."""
        for attempt in range(len(fresh) + 2):
            wanted = [c for c in fresh if c.graph_hash not in self.rejected]
            with self.clock.running("evaluate"):
                judgement = self.evaluator.judge(
                    wanted, self.best, round_=round_, emit=self.emit, lessons=_lessons(mine)
                )
            chosen = judgement.selected
            if self.context.person is None or chosen is None or chosen is self.best:
                return judgement
            answer = self._ask_person(self.context.person, round_, attempt, judgement)
            advice = answer.advice or judgement.advice
            if answer.answer == "approve":
                taken = next((c for c in wanted if c.key == answer.selected), chosen)
                reason = f"{judgement.reason}; approved by a person"
                if taken is not chosen:
                    reason = f"{taken.key} was selected by a person ({judgement.reason})"
                    judgement = replace(judgement, result="", decided=False)
                return replace(judgement, selected=taken, reason=reason, advice=advice)
            self.rejected.add(chosen.graph_hash)
        raise AssertionError("every rejection takes one function away")

    def _ask_person(
        self, person: Person, round_: int, attempt: int, judgement: Judgement
    ) -> Answer:
        assert judgement.selected is not None
        key = judgement.selected.key
        proposal = events.SelectionProposed(
            round_, attempt, key, judgement.reason, judgement.advice
        )
        self.emit(proposal)
        with self.clock.running("person"):
            answer = wait_for(person, proposal, self.control_poll)
        taken = answer.selected or key
        self.emit(events.SelectionAnswered(round_, attempt, answer.answer, taken, answer.advice))
        return answer

    def _close(self, round_: int, mine: Sequence[Candidate], judgement: Judgement) -> None:
        self.best, self.reason = judgement.selected, judgement.reason
        self.decided = judgement.decided
        self.conversation.remember(judgement, _lessons(mine))
        self.judged += 1
        self.emit(
            events.RoundFinished(
                round=round_,
                accepted=sum(c.accepted for c in mine),
                rejected=sum(not c.accepted for c in mine),
                duplicates=sum(c.duplicate_of is not None for c in mine),
                selected=self.best.key if self.best else None,
                reason=judgement.reason,
                result=judgement.result,
                advice=judgement.advice,
                decided=judgement.decided,
            )
        )

    def _settle_gate(self, round_: int) -> None:
        """With the first accepted functions the gate is decided, and they are judged under it."""
        search = self.context.gate
        assert isinstance(search, GateSearch)
        fresh = [c for c in self.candidates if c.accepted and c.duplicate_of is None]
        if not fresh:
            return
        with self.clock.running("evaluate"):
            self.gate, under = search.settle(fresh, self.gate, round_, self.emit)
        self.settled = True
        changed = {c.key: c for c in under}
        self.first_with.clear()
        for at, old in enumerate(self.candidates):
            candidate = changed.get(old.key)
            if candidate is None:
                continue
            self.candidates[at] = self._marked_duplicate(replace(candidate, duplicate_of=None))
            self._tell(self.candidates[at])

    def _start(self) -> None:
        """Check what is given to start from; it stands in slots of its own after the coder's."""
        started = []
        for at, source in enumerate(self.context.start):
            report = self.context.check(source, self.gate)
            candidate = self._keep(Candidate(0, self.config.candidates + at, 0, source, report))
            if candidate.accepted:
                started.append(candidate)
        if started:
            first = Judgement(started[0], "given at the start", advice="")
            self.conversation.remember(first, "")

    def _write(self, round_: int) -> None:
        """Ask for a round's candidates and their corrections, in waves.

        A wave is checked as a whole before any of its slots is asked again, and duplicates are
        told in the order of the slots: neither depends on which reply arrives first.
        """
        config = self.config
        opening = self.conversation.opening(self.gate)
        conversations = dict.fromkeys(range(config.candidates), SlotConversation(opening))
        requests = [self._request(round_, None, 0, SlotConversation(opening), config.candidates)]
        for repair in range(config.repairs + 1):
            pending: dict[int, SlotConversation] = {}

            def keep(
                slot: int,
                reply: Completion,
                report: CheckReport,
                repair: int = repair,
                pending: dict[int, SlotConversation] = pending,
            ) -> None:
                self.clock.seconds["check_work"] += report.elapsed_s
                candidate = self._keep(Candidate(round_, slot, repair, reply.text, report))
                answer = self._answer(candidate, reply)
                if answer is not None:
                    afresh = self.conversation.afresh(self.gate, answer.content)
                    pending[slot] = conversations[slot].answered(
                        reply.text, answer, afresh, report.graph_hash or report.code
                    )

            run_wave(
                requests,
                self.sender,
                lambda text: self.context.check(text, self.gate),
                self.gate,
                self.pool,
                self.control_poll,
                self.clock,
                on_reply=self.budget.read,
                on_checked=keep,
            )
            if not pending or repair == config.repairs or self._spent(round_, repair + 1):
                return
            conversations.update(pending)
            requests = [
                self._request(round_, slot, repair + 1, conversation, 1)
                for slot, conversation in pending.items()
            ]

    def _request(
        self, round_: int, slot: int | None, repair: int, conversation: SlotConversation, n: int
    ) -> SearchRequest:
        config = self.config
        place = ("opening",) if slot is None else (slot, repair)
        return SearchRequest(
            role="coder",
            round=round_,
            slot=slot,
            repair=repair,
            conversation=f"r{round_}" if slot is None else f"r{round_}.s{slot}",
            variants=conversation.opening if slot is None else conversation.variants(),
            n=n,
            seed=derive_seed(config.seed, round_, *place),
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            constraint=self.context.constraint,
        )

    def _answer(self, candidate: Candidate, reply: Completion) -> Message | None:
        """The message to the coder about a reply that has to be written again."""
        if candidate.duplicate_of is not None:
            return Message("user", self.render.duplicate(earlier=candidate.duplicate_of))
        if candidate.accepted:
            return None
        text = self.conversation.correction(reply, candidate.report, self.config.max_tokens)
        return Message("user", text)

    def _keep(self, candidate: Candidate) -> Candidate:
        """Take a checked candidate in, as a duplicate where an earlier one computes the same."""
        candidate = self._marked_duplicate(candidate)
        self.candidates.append(candidate)
        self.budget.candidates += 1
        self._tell(candidate)
        if candidate.accepted and candidate.duplicate_of is None and self.settled:
            most = self.config.candidates + (len(self.context.start) if not candidate.round else 0)
            self.context.ahead(candidate, most)
        return candidate

    def _marked_duplicate(self, candidate: Candidate) -> Candidate:
        if not candidate.accepted:
            return candidate
        earlier = self.first_with.setdefault(candidate.graph_hash, candidate.key)
        return candidate if earlier == candidate.key else replace(candidate, duplicate_of=earlier)

    def _tell(self, candidate: Candidate) -> None:
        self.emit(events.CandidateChecked(candidate))


def _lessons(candidates: Sequence[Candidate]) -> str:
    """Rejections and duplicates of a round, for the coder's next one."""
    lessons = rejections_in_words(candidates)
    duplicates = sum(c.duplicate_of is not None for c in candidates)
    if duplicates:
        told = f"{duplicates} of {len(candidates)} replies computed a function already tried."
        lessons = f"{lessons}\n{told}".strip()
    return lessons
