"""Collects the facts of a host, provisioned or not. Changes nothing on it."""

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from core.errors import HostError, UsageError
from provisioning.hosts.facts import GATEWAY_PORTS, HostFacts
from provisioning.ssh.connection import connect
from provisioning.ssh.host_output import DETAIL_CHARS
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget

if TYPE_CHECKING:
    import fabric


def look(host: SshTarget) -> HostFacts:
    """Return the facts of `host`. Raises UsageError if the login cannot run the programs, HostError if SSH fails."""
    with connect(host) as connection:
        seen = _seen(connection, host)
    try:
        return HostFacts.model_validate(seen)
    except ValidationError as error:
        detail = str(error.errors(include_url=False, include_input=False))[:DETAIL_CHARS]
        what, hint = "the host's description of itself is incomplete", "run it again"
        raise UsageError(what, where=host.name, hint=hint, detail=detail) from None


def _seen(connection: "fabric.Connection", host: SshTarget) -> Any:
    """Return the output of the two programs that look at a host and at its firewalls."""
    try:
        seen = ask_program(connection, host, "host/look_at_host")
        closed = ask_program(connection, host, "firewall/other_firewalls", *map(str, GATEWAY_PORTS))
    except HostError as error:
        raise UsageError(error.what, where=error.where, hint=error.hint, detail=error.detail) from error
    return {**seen, **closed}
