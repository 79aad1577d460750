"""Which paths are allowed for the data of a host. Checks the path only.

On the host, provisioning/programs/host/check_data_dir.py checks who may enter the folder, and how it is mounted.
"""

import posixpath
import re
from typing import Annotated

from pydantic import AfterValidator

EXAMPLE = "/var/lib/llm"

PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108  # no file is made there
"""The engine has its own (PrivateTmp), and hosts delete old files there, or all files at boot."""

VOLATILE = ("/dev", "/proc", "/run", "/sys", "/var/run")
"""File systems in memory or of the kernel: nothing in them outlives a reboot."""

HOMES = ("/home", "/root")
"""They cannot be data folders, because a data folder is owned by root with mode 0755. A folder below them can."""

_PATH = re.compile(r"/[\w./-]+")


def _data_dir(text: str) -> str:
    """Return `text` if data may be stored there. Raises ValueError with `what is wrong; what to write`."""
    plain = "/" + posixpath.normpath(text).lstrip("/")
    if not _PATH.fullmatch(text) or plain == "/":
        raise ValueError(f"is not a folder; write an absolute path, e.g. {EXAMPLE}")
    if _below(plain, PRIVATE):
        raise ValueError(f"is a place for temporary files, which the engine does not see; write e.g. {EXAMPLE}")
    if _below(plain, VOLATILE):
        raise ValueError(f"is lost at a reboot; write a folder on a disk, e.g. {EXAMPLE}")
    if plain in HOMES:
        raise ValueError(f"contains home directories; write a folder below it, e.g. {plain}/llm")
    if plain != text:
        raise ValueError(f"has a `.`, a `..` or a slash too many; write {plain}")
    return text


def _below(path: str, folders: tuple[str, ...]) -> bool:
    """Return whether `path` is one of `folders` or is below one."""
    return any(f"{path}/".startswith(f"{each}/") for each in folders)


DataDir = Annotated[str, AfterValidator(_data_dir)]
