"""The key between a gateway and the engines of other hosts.

Made and kept on the controlling machine, because several hosts share it. A host that has both makes its own, which
never leaves it.
"""

import secrets
from pathlib import Path

from core.files import write_atomically
from core.paths import stack_state_dir
from provisioning.converge.resources import Secret

ENGINE_KEY_BYTES = 32
FILE_NAME = "engine-key"


def engine_key(stack: str, *, keep: bool = True) -> Secret:
    """Return the engine key of `stack`. Makes it on first use, and keeps it unless `keep` is false."""
    return key_at(stack_state_dir(stack) / FILE_NAME, keep=keep)


def key_at(path: Path, *, keep: bool = True) -> Secret:
    """Return the key in the file `path`. Makes it if there is none, and keeps it unless `keep` is false."""
    if path.exists():
        return Secret(path.read_text().strip())
    made = secrets.token_urlsafe(ENGINE_KEY_BYTES)
    if keep:
        write_atomically(path, made, mode=0o600)
    return Secret(made)
