"""The process of one training: the same training as without processes, with its job at a pipe.

The process has a run's heartbeat, obeys commands to its own run, and hears from the job that
started it what the whole run is told. It never outlives its job for long: when the pipe from the
job ends, which the kernel sees to even after SIGKILL, it saves a checkpoint after the rollout it is
at and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence

from prompts.cards import TaskCard
from qllm.config.build import from_stored
from qllm.errors import UsageError, WorkError
from qllm.jobs.credit import CERTIFICATE, TrainedCredit, trains_with_credit
from qllm.jobs.job_control import JobControl, heartbeat
from qllm.jobs.messages import Channel, Ended, Order, RemoteDisplay
from qllm.jobs.session import Session
from qllm.jobs.tasks import task_card
from qllm.jobs.trainings import run_training
from qllm.signals import STOP_SIGNALS
from qllm.store.errors import StoreError
from qllm.store.outage import Outage
from qllm.store.schema import Run
from qllm.store.store import Store, open_store

ORPHAN_S = 300.0
"""Time for a process whose job is gone to reach its next rollout; it is then killed without
another checkpoint."""


def main(words: Sequence[str]) -> int:
    """Do the training that the first message orders.

    Args:
        words: a title for people, and the descriptor of the pipe.
    """
    channel = Channel.inherited(int(words[1]))
    order: Order = channel.receive()
    with open_store(order.home, url=order.database) as store:
        control = JobControl(store)
        store.database.outage = Outage(lambda words: None)  # its job says it for all
        _obey_signals(control)
        threading.Thread(target=_listen, args=(channel, control), daemon=True).start()
        session = Session(store, RemoteDisplay(channel), control, "")
        try:
            with heartbeat(store, control):
                _train(session, store, order)
        except (WorkError, UsageError, StoreError) as error:
            channel.send(Ended(str(error)))
            return 1
    channel.send(Ended(None))
    return 0


def _train(session: Session, store: Store, order: Order) -> None:
    if session.control.training() == "stop":
        return  # told, or left alone, before it began
    run, parent = store.runs.get(order.run_id), store.runs.get(order.parent_id)
    config = from_stored(run.config)
    card = task_card(config)
    credit = None
    if trains_with_credit(run):
        credit = _credit(store, parent, card, order.graph_hash)
    run_training(session, parent.id, run, card, credit)


def _credit(store: Store, parent: Run, card: TaskCard, graph_hash: str | None) -> TrainedCredit:
    """The function in the whole run's folder, if it is the one that the job has had judged."""
    from sandbox.certificate import CertificateError, read_tfcaf

    try:
        graph = read_tfcaf(store.run_dir(parent.id) / CERTIFICATE, card).graph
    except CertificateError as error:
        raise WorkError(f"certificate {error}") from None
    if graph.graph_hash != graph_hash:
        raise WorkError("the certificate in the run's folder was exchanged since it was judged")
    return TrainedCredit(graph, parent.inputs["name"])


def _obey_signals(control: JobControl) -> None:
    """Ignore the terminal's signals, which reach the job; let the others stop this training."""

    def stop(number: int, _frame: object) -> None:
        control.signal = number

    for number in STOP_SIGNALS:
        from_terminal = number in (signal.SIGINT, signal.SIGHUP)
        signal.signal(number, signal.SIG_IGN if from_terminal else stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _listen(channel: Channel, control: JobControl) -> None:
    """Pass on what the job says; the end of the pipe says stop."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            control.told = channel.receive()
    control.told = "stop"
    time.sleep(ORPHAN_S)
    os._exit(1)
