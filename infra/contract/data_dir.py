"""Where the data of a host may lie, as far as the path alone says it.

What only the host can say (who may enter, how it is mounted) is provisioning/programs/check_data_dir.py's to find.
"""

import posixpath
import re
from typing import Annotated

from pydantic import AfterValidator

EXAMPLE = "/var/lib/llm"

PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108  # no file is made there
"""The engine's unit has its own (PrivateTmp), and hosts empty them by age or at a boot."""

VOLATILE = ("/dev", "/proc", "/run", "/sys", "/var/run")
"""File systems in memory or of the kernel: nothing in them outlives a reboot."""

HOMES = ("/home", "/root")
"""Not data folders themselves, as a data folder becomes root's and 0755. A folder below may be one."""

_PATH = re.compile(r"/[\w./-]+")


def _data_dir(text: str) -> str:
    """Return `text` if the data may lie there. Raises ValueError with `what is wrong; what to write`."""
    plain = "/" + posixpath.normpath(text).lstrip("/")
    if not _PATH.fullmatch(text) or plain == "/":
        raise ValueError(f"is no folder; write an absolute path, e.g. {EXAMPLE}")
    if _below(plain, PRIVATE):
        raise ValueError(f"is a place for temporary files, which the engine does not see; write e.g. {EXAMPLE}")
    if _below(plain, VOLATILE):
        raise ValueError(f"is lost at a reboot; write a folder on a disk, e.g. {EXAMPLE}")
    if plain in HOMES:
        raise ValueError(f"holds the homes of people; write a folder below it, e.g. {plain}/llm")
    if plain != text:
        raise ValueError(f"has a `.`, a `..` or a slash too many; write {plain}")
    return text


def _below(path: str, folders: tuple[str, ...]) -> bool:
    """Return whether `path` is one of `folders` or lies below one."""
    return any(f"{path}/".startswith(f"{each}/") for each in folders)


DataDir = Annotated[str, AfterValidator(_data_dir)]
