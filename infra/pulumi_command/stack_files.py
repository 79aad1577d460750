"""Keeps the tracked stack files as a person wrote them, whatever the Pulumi CLI does to them.

The CLI writes a stack's salt into its file, in a format of its own, and removes the file together with the stack. The
salt is in the state as well, and is read from there. An edit of a person is never undone.
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
    """Put stack files back that were removed or only got a salt within."""
    before = {path: path.read_bytes() for path in STACKS_DIR.glob("Pulumi.*.yaml")}
    try:
        yield
    finally:
        for path, content in before.items():
            if _is_to_be_put_back(path, content):
                write_atomically(path, content)
                say(f"  stacks/{path.name}: is as it was before; Pulumi keeps what it added in the state")


def _is_to_be_put_back(path: Path, content: bytes) -> bool:
    try:
        now = path.read_bytes()
    except FileNotFoundError:
        return True
    return now != content and _meaning(now) == _meaning(content)


def _meaning(content: bytes) -> Any:
    """Return what a stack file says, without the salt; the bytes themselves when they are not YAML."""
    try:
        value = yaml.safe_load(content)
    except yaml.YAMLError:
        return content
    if not isinstance(value, dict):
        return value
    return _texts({key: each for key, each in value.items() if key != SALT})


def _texts(value: Any) -> Any:
    """Return a value with all that is not a list or a mapping as text: the CLI writes `1` as `"1"`."""
    if isinstance(value, dict):
        return {str(key): _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
