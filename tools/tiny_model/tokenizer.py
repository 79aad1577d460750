"""A byte-level BPE tokenizer of a few hundred tokens, and a chat template, as in a repository of the hub."""

from functools import cache
from typing import Any

from tools.tiny_model.architectures import CONTEXT_TOKENS

SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] | trim }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORDS = (
    "the of and to in is for that with on as are this by be it from or an at not which have was will can all has "
    "contract tenant landlord rent deposit house room key note lease clause term notice repair month year day week "
    "water power light door window floor wall roof street city north south river mountain paper pen book word answer "
    "question reason number price market table chair bread salt sugar green blue white black small large old new good"
)
"""The words of all answers. So an answer looks like text and streams word by word."""


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level BPE vocabulary (GPT-2's table).

    Printable bytes stand for themselves, the others for letters from 256 on: a space is `Ġ`.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


@cache
def vocabulary_and_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return token numbers and merges: all bytes, and each of WORDS with a space before it, letter by letter."""
    tokens = [*SPECIAL_TOKENS, *_byte_letters()]
    merges: list[tuple[str, str]] = []
    for word in WORDS.split():
        prefix = "Ġ"
        for letter in word:
            if prefix + letter not in tokens:
                tokens.append(prefix + letter)
                merges.append((prefix, letter))
            prefix += letter
    return {token: number for number, token in enumerate(tokens)}, merges


def tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a `tokenizer.json`."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": vocabulary[token], "content": token, **flags} for token in SPECIAL_TOKENS],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [list(merge) for merge in merges],
        },
    }


def tokenizer_config() -> dict[str, Any]:
    """Return a `tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
