"""Conversations as token ids, by a tokenizer's own chat template; and tokens as text, as they come.

What a template can do is found out by rendering small conversations with it, never by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.protocol import Message, ModelError

_PROBE = "qllm-probe"


class ChatTemplate:
    """A tokenizer's chat template.

    Some families' templates refuse a system message or drop it: its text then goes to the head of
    the first user message.

    Args:
        tokenizer: Of transformers.
        variables: Further variables of the template, such as ``enable_thinking``.

    Raises:
        ModelError: the tokenizer has no chat template, or it cannot be rendered.
    """

    def __init__(self, tokenizer: Any, variables: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._variables = dict(variables or {})
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the model has no chat template, so it is no chat model: take its instruct version"
            )
        self.takes_system = self._takes_system()

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation up to where the assistant begins to write, or goes on with
        its own message where that is the last.

        Control tokens in the messages' own text are read as plain text.

        Raises:
            ModelError: the template refuses the conversation.
        """
        plain = [{"role": m.role, "content": m.content} for m in messages]
        if not self.takes_system:
            plain = _merge_system(plain)
        begun = bool(plain) and plain[-1]["role"] == "assistant"
        return self._render(plain, prompt=not begun, begun=begun)

    def turn_ends(self) -> set[int]:
        """The control token that the template writes behind an assistant's turn, if any."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PROBE}]
        try:
            ids = self._render(turns, prompt=False)
        except ModelError:
            return set()
        special = set(self._tokenizer.all_special_ids)
        added = getattr(self._tokenizer, "added_tokens_encoder", {})
        controls = special | {i for token, i in added.items() if token.startswith("<")}
        for place in range(len(ids)):
            if _PROBE in self._tokenizer.decode(ids[: place + 1]):
                behind = ids[place + 1 : place + 2]
                return {i for i in behind if i in controls}
        return set()

    def _takes_system(self) -> bool:
        user = {"role": "user", "content": "a"}
        try:
            ids = self._render([{"role": "system", "content": _PROBE}, user])
        except ModelError:
            self._render([user])  # a template that renders nothing at all is said to be broken
            return False
        return _PROBE in self._tokenizer.decode(ids)

    def _render(
        self, messages: list[dict[str, str]], *, prompt: bool = True, begun: bool = False
    ) -> list[int]:
        import jinja2

        try:
            made = self._tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=prompt,
                continue_final_message=begun,
                tokenize=True,
                return_dict=True,
                sanitize_control_tokens=True,
                **self._variables,
            )
        except (jinja2.TemplateError, ValueError, TypeError, KeyError) as error:
            roles = ", ".join(m["role"] for m in messages)
            said = str(error).strip().split("\n")[0][:200]
            raise ModelError(
                f"the model's chat template refuses a conversation of {roles}: {said}"
            ) from None
        return list(made["input_ids"])


def _merge_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    said = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    if not said:
        return rest
    if rest and rest[0]["role"] == "user":
        return [{"role": "user", "content": f"{said}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": said}, *rest]


class TextStream:
    """Text from tokens that arrive one at a time.

    A character may be spread over several tokens; it is given out once it is whole. What is given
    out in pieces is, put together, what ``text`` is at the end.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0  # what lies before is written, and no longer needed to decode what follows
        self._written = 0  # ids before this one are written
        self.text = ""

    def push(self, token: int) -> str:
        """The text that this token completes; often empty."""
        self._ids.append(token)
        return self._advance(last=False)

    def finish(self) -> str:
        """What is left: half a character is a replacement character."""
        return self._advance(last=True)

    def _advance(self, *, last: bool) -> str:
        before = self._decode(self._ids[self._start : self._written])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or (now.endswith("\ufffd") and not last):
            return ""
        self._start, self._written = self._written, len(self._ids)
        new = now[len(before) :]
        self.text += new
        return new

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)
