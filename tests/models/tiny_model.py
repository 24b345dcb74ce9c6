"""A complete open-weight model with random weights, built on the spot: what models are tested
with. It writes noise, so what it shows is everything around the words: templates, constraints,
seeds, contexts and servers.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 1536
END = "<|im_end|>"
PAD = "<|endoftext|>"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


_STEMS = (
    "agent agent_qs state weight bias credit reward distance position velocity landmark food "
    "level team action mask value index batch clamp softmax where stack zeros ones relu sum mean "
    "norm exp near far close good advice round candidate select reason task total scale left speed"
).split()
_SYLLABLES = "ka lo mi nu per sta tor ven dis com al er in on ur ant est ob qui rex".split()


def build_tiny_model(folder: str | Path, *, context: int = 8192, seed: int = 0) -> Path:
    """Write a Qwen3 model of 0.6M parameters with its tokenizer, the same bytes for the same seed.

    Args:
        folder: Where to write it; made if it is missing.
        context: Most tokens of a conversation and its reply together.
        seed: Of the weights.

    Returns:
        The folder, holding ``config.json``, ``model.safetensors``, ``generation_config.json``, the
        tokenizer's files and the chat template.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(context)
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    _check(folder)
    return folder


def _tokenizer(context: int) -> Any:
    """A byte-level BPE tokenizer: all 256 bytes are in its vocabulary, so that any text encodes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    bpe.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, "<|im_start|>", END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # One thread, since several may meet equally frequent pairs in different orders.
    threads = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        bpe.train_from_iterator(_corpus(), trainer)
    finally:
        if threads is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = threads
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=["<|im_start|>"],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _corpus() -> Iterator[str]:
    """Lines of made-up code and prose, always the same, so that no other change moves a token."""
    draw = random.Random(0)
    names = [first + rest for first in _STEMS for rest in ("", "s", "_i", "_1", "ing")]
    names += ["".join(draw.choices(_SYLLABLES, k=3)) for _ in range(400)]
    for _ in range(1500):
        a, b, c = draw.sample(names, 3)
        number = f"{draw.randrange(100)}.{draw.randrange(10)}"
        yield draw.choice(
            (
                f"    {a} = torch.{b}({c}, dim={draw.randrange(3)})\n",
                f"    {a} = {b} * {number} + state[:, {draw.randrange(40)}]\n",
                f"    for {a} in range({draw.randrange(9)}):\n        {b} = {b} + {c}\n",
                f"The {a} of the {b} is near {number}, so the {c} matters more.\n",
                f'{{"{a}": {number}, "{b}": "{c}"}}\n',
                f"    return {a}, {b}\n",
            )
        )


def _check(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert config["vocab_size"] == len(vocabulary), "tokens without text would be sampled as well"
    assert (folder / "model.safetensors").is_file()


if __name__ == "__main__":  # python -m tests.models.tiny_model FOLDER
    import sys

    print(build_tiny_model(Path(sys.argv[1])))
