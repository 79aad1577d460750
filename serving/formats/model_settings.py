"""Check the small files beside a model's weights that an engine reads at its start: tokenizer, sampling, template.

Only files are checked whose damage ends an engine or silently changes its answers. Source:
vLLM 0.32.0 with transformers 5.19 (tokenization_utils_base.py, generation/configuration_utils.py).
"""

from __future__ import annotations

from .json_text import FormatError, read_as_engines_do
from .weight_heads import LFS_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    Read = Callable[[str, int, Callable[[bytes], Any]], Any]

TOKENIZER_CONFIG = "tokenizer_config.json"

ALWAYS = ("generation_config.json", "tokenizer.json")
"""vLLM ignores a generation_config.json that is not JSON and serves with other stop tokens; one that is not an object
ends it."""

OF_OLD_TOKENIZERS = ("special_tokens_map.json", "added_tokens.json")
"""Read unless tokenizer_config.json has `added_tokens_decoder`."""

OF_PROCESSORS = ("preprocessor_config.json", "processor_config.json")

TEMPLATE = "chat_template.jinja"

MAX_SETTINGS_BYTES = 64 << 20
"""Gemma's tokenizer.json has 33 MB. Larger files are not checked."""

PAGE = (b"<!doctype html", b"<html")


def check_settings(names: Container[str], read: Read, *, has_processor: bool) -> None:
    """Call `read` for each file of `names` that an engine reads.

    Its arguments are the name of a file, the limit of bytes, and the function that checks the content.
    """
    read_some = [name for name in ALWAYS if name in names]
    settings = read(TOKENIZER_CONFIG, MAX_SETTINGS_BYTES, read_settings) if TOKENIZER_CONFIG in names else {}
    if "added_tokens_decoder" not in settings:
        read_some += [name for name in OF_OLD_TOKENIZERS if name in names]
    if has_processor:
        read_some += [name for name in OF_PROCESSORS if name in names]
    for name in read_some:
        read(name, MAX_SETTINGS_BYTES, read_settings)
    if TEMPLATE in names:
        read(TEMPLATE, MAX_SETTINGS_BYTES, check_template)


def read_settings(content: bytes) -> dict[str, Any]:
    """Return a JSON object; empty if the file is too large to check. Raises FormatError for anything else."""
    _refuse_stand_ins(content)
    if len(content) > MAX_SETTINGS_BYTES:
        return {}
    try:
        value = read_as_engines_do(content)
    except FormatError as error:
        raise FormatError(error.what, error.hint.replace("export", "get")) from None
    if not isinstance(value, dict):
        raise FormatError("is not a JSON object", "get it again")
    return value


def check_template(content: bytes) -> None:
    """Raise FormatError if a chat template is not text, or if another file is in its place."""
    _refuse_stand_ins(content)
    try:
        content[:MAX_SETTINGS_BYTES].decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("is not UTF-8 text", "get it again") from None


def _refuse_stand_ins(content: bytes) -> None:
    """Raise FormatError if the content is a Git LFS pointer or a web page instead of the file."""
    if content.startswith(LFS_START):
        raise FormatError("is a Git LFS pointer, not the file", "run `git lfs pull` in its folder")
    if content.lstrip()[:20].lower().startswith(PAGE):
        raise FormatError("is a web page, not the file; a proxy may have answered", "get it again")
