"""Which CAs the gateway's host trusts, and which CA signed the certificate of each host behind it, as provisioned last.

Kept on the controlling machine. A host behind the gateway gets a certificate of another CA only when the gateway trusts
that CA, and the gateway trusts the old one until no host shows a certificate of it. Reaches no host.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import ConfigError
from core.files import write_atomically
from core.paths import stack_state_dir
from core.reading.strict_json import parse_object

FILE_NAME = "door-trust.json"


@dataclass(frozen=True, kw_only=True)
class DoorTrust:
    """PEMs of CAs. Empty for what was never provisioned successfully."""

    gateway: Sequence[str] = ()
    """What the gateway's host trusts."""
    doors: Mapping[str, str] = field(default_factory=dict)
    """What signed the certificate of a host behind it, by the host's name."""


def read_trust(stack: str) -> DoorTrust:
    """Return what was noted. Raises ConfigError if the file is damaged."""
    path = _file(stack)
    try:
        noted = parse_object(path.read_bytes())
        gateway, doors = noted["gateway"], noted["doors"]
        if all(isinstance(each, str) for each in (*gateway, *doors.values())):
            return DoorTrust(gateway=tuple(gateway), doors=doors)
    except FileNotFoundError:
        return DoorTrust()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    hint = "remove it; hosts behind the gateway may then be out of rotation while the next provision runs"
    raise ConfigError("does not say which CAs are trusted", where=str(path), hint=hint)


def write_trust(stack: str, trust: DoorTrust) -> None:
    """Note what hosts have now."""
    content = {"gateway": list(trust.gateway), "doors": dict(trust.doors)}
    write_atomically(_file(stack), json.dumps(content, indent=2) + "\n")


def _file(stack: str) -> Path:
    return stack_state_dir(stack) / FILE_NAME
