"""The system prompt that a model's chat template brings along when a conversation has none.

Ollama replaces the chat template of a converted model by one of its own that has no such prompt, so the model would
answer otherwise than it does elsewhere.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MARKS = (("<|im_start|>system", "<|im_end|>"), ("[|system|]", "[|endofturn|]"), ("<|system|>", "<|end|>"))
"""What stands before and after a system message, in the templates of Qwen, EXAONE and Phi."""


def default_system(folder: Path) -> str:
    """Return the prompt; empty for a template that has none, or builds it from parts."""
    template = _template(folder)
    for start, end in MARKS:
        # A text within one literal of the template: quotes and braces would end it.
        found = re.search(re.escape(start) + r"(?:\\n|\n)?([^'\"{}<|]+?)\s*" + re.escape(end), template)
        if found:
            return found.group(1).replace("\\n", "\n").strip()
    return ""


def _template(folder: Path) -> str:
    """Return the chat template, from the file of its own or from the tokenizer's settings."""
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except (OSError, ValueError):  # not there, or not UTF-8
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
