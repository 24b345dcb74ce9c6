"""A chat model that holds a vLLM server of its own: started when it is first asked, started again
when it dies.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from models.delivery import Delivery
from models.openai_errors import ServerGone
from models.openai_server import OpenAIModel
from models.protocol import (
    BadReply,
    ChatRequest,
    Completion,
    Message,
    ModelError,
    OnDone,
    OnText,
    Say,
)
from models.vllm.launch import ServerSpec
from models.vllm.server import VllmServer

Handover = Literal["keep", "sleep", "stop"]
T = TypeVar("T")

_DYING_S = 15.0
_STEP_S = 0.25
_HICCUPS = 4


class VllmModel:
    """Answers by a vLLM server. Several threads may ask at once.

    A request that the server dies under is asked again, as a whole, once another server is ready.
    It is the same request, so its replies are the same; none is delivered twice.

    Args:
        name: How the user refers to the model.
        spec: Settings of the server.
        folder: Of the server; see ``VllmServer``.
        say: Told about slow steps and about what went wrong, a line at a time.
        handover: What ``make_room`` does: nothing, put the server to sleep, or stop it.
        start_timeout_s: Seconds it may take to become ready.
        request_timeout_s: Seconds of silence after which a request has failed.
        reply_timeout_s: Seconds after which a reply without an end has failed.
        restarts: How often the server is started again for the sake of one request.
    """

    is_llm = True

    def __init__(
        self,
        name: str,
        spec: ServerSpec,
        folder: str | Path,
        *,
        say: Say | None = None,
        handover: Handover = "sleep",
        start_timeout_s: float = 900.0,
        request_timeout_s: float = 600.0,
        reply_timeout_s: float = 3600.0,
        restarts: int = 2,
    ) -> None:
        self._name = name
        self._spec = spec
        self._say: Say = say if say is not None else (lambda line: None)
        self._handover = handover
        self._request_timeout_s, self._reply_timeout_s = request_timeout_s, reply_timeout_s
        self._restarts = restarts
        self.server = VllmServer(spec, folder, say, start_timeout_s=start_timeout_s)
        self._context = spec.context_tokens
        self._own_context = _own_context(Path(spec.model_path))
        self._client: OpenAIModel | None = None
        self._asleep = False
        self._closed = False
        self._busy = 0
        self._leaving = False
        self._changed = threading.Condition(threading.RLock())

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self._name

    @property
    def context_tokens(self) -> int | None:
        """As set, or as the running server says, or as the model's own files say before it runs."""
        if self._context is None:
            client = self._client
            self._context = client.context_tokens if client is not None else None
        return self._context if self._context is not None else self._own_context

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation, counted by the server."""
        return self._asked(lambda client: client.count_tokens(messages))

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The replies to a request, written side by side, with exact token counts.

        What cannot be read or has no end comes to nothing (``finish_reason`` is ``error``).

        Raises:
            ContextOverflow: the conversation does not leave room for ``request.max_tokens``.
            ModelError: the model cannot answer, or the server died again and again.
        """
        delivery = Delivery(request.n, on_text, on_done)
        try:
            return self._asked(lambda client: client.answer(request, delivery))
        except BadReply as error:
            delivery.fail(request, self._name, error)
            return delivery.replies()

    def start(self) -> None:
        """Start or adopt the server now, instead of when it is first asked.

        Raises:
            ModelError: it does not start.
        """
        with self._changed:
            self._ready()

    def make_room(self) -> None:
        """Leave the GPU, by the ``handover`` that was set. Requests under way are waited for.

        A server that others use as well keeps its memory. One that runs on a CPU holds no GPU, so
        ``sleep`` leaves it alone; ``stop`` stops it.
        """
        with self._changed:
            self._leaving = True
            try:
                while self._busy:
                    self._changed.wait()
                self._leave()
            finally:
                self._leaving = False
                self._changed.notify_all()

    def come_back(self) -> None:
        """Take the GPU again, if there is none to ask at the moment.

        Raises:
            ModelError: the server does not start.
        """
        with self._changed:
            if self._client is None or self._asleep:
                self._ready()

    def close(self) -> None:
        """Use the server no longer; it ends with its last user. Calling it twice is fine.

        A server that another thread is just starting is given up.
        """
        self.server.give_up()
        with self._changed:
            self._closed = True
            self._forget_client()
            self.server.release()

    def _asked(self, what: Callable[[OpenAIModel], T]) -> T:
        """Do something with a live server, again with another one if it dies meanwhile."""
        restarted = hiccups = 0
        why = ""
        while True:
            with self._changed:
                while self._leaving:
                    self._changed.wait()
                client = self._ready()
                self._busy += 1
            try:
                return what(client)
            except ServerGone as error:
                gone = error
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()
            with self._changed:
                if self._closed:
                    raise ModelError(f"the model '{self._name}' was closed while it was asked")
                if self._client is not client:  # another thread has seen to it
                    restarted += 1
                elif self._recovers():
                    hiccups += 1
                    time.sleep(_STEP_S)
                else:
                    restarted += 1
                    why = self.server.reason()
                    self._bury(why, last=restarted > self._restarts)
            if restarted > self._restarts or hiccups > _HICCUPS:
                raise ModelError(
                    f"the vLLM server of '{self._name}' died {restarted} times and broke off "
                    f"{hiccups} times in one request: {why or gone}; its log: {self.server.log}"
                )

    def _recovers(self) -> bool:
        """Whether the server is well after all; it gets a moment to die."""
        deadline = time.monotonic() + _DYING_S
        while self.server.is_running():
            if self.server.is_healthy():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_STEP_S)
        return False

    def _bury(self, why: str, *, last: bool) -> None:
        self._forget_client()
        self.server.stop()
        again = "" if last else "; starting it again and asking again"
        self._say(f"the vLLM server of '{self._name}' died: {why}{again}")

    def _ready(self) -> OpenAIModel:
        """The client of a live, awake server. To be called under the lock."""
        if self._closed:
            raise ModelError(f"the model '{self._name}' is closed")
        if self._client is not None and not self.server.is_running():
            self._forget_client()
        if self._client is None:
            self.server.start()
            self._asleep = self.server.can_sleep() and self.server.is_asleep()
            self._client = OpenAIModel(
                self._name,
                url=self.server.url,
                model_id=self._spec.served_name,
                api_key=self.server.api_key,
                context_tokens=self.server.context_tokens(),
                timeout_s=self._request_timeout_s,
                longest_s=self._reply_timeout_s,
            )
        if self._asleep:
            if not self.server.wake():
                self._say(f"'{self._name}' does not wake up: starting its server anew")
                self._forget_client()
                self.server.stop()
                return self._ready()
            self._asleep = False
        return self._client

    def _leave(self) -> None:
        if self._handover == "keep" or self._asleep or not self.server.is_running():
            return
        if self._handover == "sleep" and self.server.on_cpu:
            return
        others = self.server.others()
        if others:
            self._say(f"'{self._name}' keeps its memory: its server is shared with {others} more")
            return
        if self._handover == "sleep":
            if self.server.sleep():
                self._asleep = True
                return
            self._say(f"the server of '{self._name}' cannot be put to sleep: stopping it")
        self._forget_client()
        self.server.stop()

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._asleep = False


def _own_context(folder: Path) -> int | None:
    """The longest context that a model's configuration names."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        longest = {**config, **(config.get("text_config") or {})}["max_position_embeddings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return longest if isinstance(longest, int) else None
