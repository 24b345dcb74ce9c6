"""The tokenizer and chat template of a GGUF file, with the few methods of transformers' tokenizers
that `ChatTemplate` and `TextStream` use."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.llama_cpp.library import LlamaFile

_MARK = "\u2983qllm-{}\u2984"
_MARKS = re.compile("\u2983qllm-(\\d+)\u2984")


class GgufTokenizer:
    """Conversations as tokens, and tokens as text.

    Args:
        file: whose vocabulary it is.
        template: its chat template, in Jinja.
    """

    all_special_ids: tuple[int, ...] = ()

    def __init__(self, file: LlamaFile, template: str) -> None:
        self.chat_template = template
        self._file = file
        self._pieces: dict[int, bytes] = {}
        self._begin, self._end = file.frame()
        names = sorted(map(re.escape, file.markup()), key=len, reverse=True)
        self._markup = re.compile("|".join(names)) if names else None
        controls = (t for t in range(file.tokens) if file.is_control(t))
        self.all_special_ids = tuple(controls)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: time.strftime(form)
        self._template = environment.from_string(template)

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, str]],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> dict[str, list[int]]:
        """Token ids of a conversation, under ``input_ids``.

        The template is rendered with a mark in the place of every text, so that what a text calls
        a control token is read as plain text, and only the template's own are control tokens.

        Raises:
            jinja2.TemplateError: the template refuses the conversation.
        """
        for name in ("tokenize", "return_dict", "sanitize_control_tokens"):
            variables.pop(name, None)
        marked = [{**m, "content": _MARK.format(i)} for i, m in enumerate(messages)]
        text = self._template.render(
            messages=marked,
            add_generation_prompt=add_generation_prompt,
            bos_token=self._begin,
            eos_token=self._end,
            tools=None,
            **variables,
        )
        if continue_final_message:
            last = _MARK.format(len(messages) - 1)
            text = text[: text.rindex(last) + len(last)]
        ids: list[int] = []
        for at, part in enumerate(_MARKS.split(text)):
            if at % 2:
                ids += self._plain(messages[int(part)]["content"])
            elif part:
                ids += self._file.encode(part, controls=True)
        return {"input_ids": ids}

    def _plain(self, text: str) -> list[int]:
        """Tokens of a text that names no control token, nor one that the file defines itself: such
        a name is taken apart behind its first character."""
        ids: list[int] = []
        start = 0
        for found in self._markup.finditer(text) if self._markup else ():
            ids += self._file.encode(text[start : found.start() + 1], controls=False)
            start = found.start() + 1
        return ids + self._file.encode(text[start:], controls=False)

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Text of tokens, without control tokens; half a character is a replacement character."""
        return b"".join(map(self._piece, ids)).decode("utf-8", errors="replace")

    def _piece(self, token: int) -> bytes:
        if token not in self._pieces:
            self._pieces[token] = self._file.piece(token, controls=False)
        return self._pieces[token]


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(text: str) -> None:
    import jinja2

    raise jinja2.TemplateError(text)
