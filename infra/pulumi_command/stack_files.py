"""Restores the tracked stack files after the Pulumi CLI has changed or removed them.

The CLI writes a stack's salt into its file, in a format of its own, and removes the file together with the stack.
Pulumi also keeps the salt in the state, and reads it from there. A person's edit is never undone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from core.console import say
from core.files import write_atomically
from core.paths import STACKS_DIR

SALT = "encryptionsalt"


@contextmanager
def kept_as_written() -> Iterator[None]:
    """After the block, restore the stack files that were removed in it, or that only got a salt."""
    before = {path: path.read_bytes() for path in STACKS_DIR.glob("Pulumi.*.yaml")}
    try:
        yield
    finally:
        for path, content in before.items():
            if _is_to_be_put_back(path, content):
                write_atomically(path, content)
                say(f"  stacks/{path.name}: restored; Pulumi keeps its additions in the state")


def _is_to_be_put_back(path: Path, content: bytes) -> bool:
    try:
        now = path.read_bytes()
    except FileNotFoundError:
        return True
    return now != content and _meaning(now) == _meaning(content)


def _meaning(content: bytes) -> Any:
    """Return the values of a stack file without the salt; its bytes if it is not YAML."""
    try:
        value = yaml.safe_load(content)
    except yaml.YAMLError:
        return content
    if not isinstance(value, dict):
        return value
    return _texts({key: each for key, each in value.items() if key != SALT})


def _texts(value: Any) -> Any:
    """Return a value with every scalar as text, because the CLI writes `1` as `"1"`."""
    if isinstance(value, dict):
        return {str(key): _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
