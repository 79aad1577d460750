"""The system prompt that a model's chat template adds to a conversation without one.

Ollama replaces the chat template of a converted model with its own, which has no such prompt. Without the prompt the
model would answer differently than with other engines.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MARKS = (("<|im_start|>system", "<|im_end|>"), ("[|system|]", "[|endofturn|]"), ("<|system|>", "<|end|>"))
"""Text before and after a system message, in the templates of Qwen, EXAONE and Phi."""


def default_system(folder: Path) -> str:
    """Return the prompt; empty if the template has none, or builds it from parts."""
    template = _template(folder)
    for start, end in MARKS:
        # A text inside one literal of the template: quotes and braces would end it.
        found = re.search(re.escape(start) + r"(?:\\n|\n)?([^'\"{}<|]+?)\s*" + re.escape(end), template)
        if found:
            return found.group(1).replace("\\n", "\n").strip()
    return ""


def _template(folder: Path) -> str:
    """Return the chat template, from its own file or from the tokenizer's settings."""
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except (OSError, ValueError):  # missing, or not UTF-8
        pass
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    template = settings.get("chat_template") if isinstance(settings, dict) else None
    if isinstance(template, list):
        named = (each for each in template if isinstance(each, dict) and each.get("name") == "default")
        template = next(named, {}).get("template")
    return template if isinstance(template, str) else ""
