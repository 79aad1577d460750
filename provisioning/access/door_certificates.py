"""The certificates of the hosts behind a gateway's, signed by the checkout's CA, whichever CA signs the gateway's own.

Made and kept on the controlling machine, one for each host. Sends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from core.paths import stack_state_dir, state_dir
from infra.contract.outputs import HostRecord
from provisioning.access.credentials import lock_of_ca
from provisioning.access.door_trust import DoorTrust, read_trust, write_trust
from provisioning.converge.resources import Secret
from serving.spec.gateway_fields import ProjectCa
from serving.spec.models import GatewaySpec

DAYS_BESIDE_FILES = 397
"""With `tls.kind: files` nobody renews the gateway's own certificate with `provision`. A year's certificate of a
company's CA brings at least one `provision` in this time. The CA is replaced 400 days before its end."""


WAITING_SHARE = 1 / 50
"""A door's certificate of an old CA stays until this share of its life is left if the next provision can replace it."""


def door_certificate(stack: str, host: HostRecord, gateway: GatewaySpec, *, keep: bool = True) -> Secret:
    """Return certificate and private key of `host` behind a gateway as one PEM, made if missing or due for renewal.

    One of a CA that was replaced stays until the gateway's host trusts the new CA. They are written unless `keep` is
    false.
    """
    from provisioning.access import certificates  # cryptography takes 0.1 s, and most tasks need none

    days = gateway.tls.days if isinstance(gateway.tls, ProjectCa) else DAYS_BESIDE_FILES
    names = tuple(dict.fromkeys((host.name, host.peer_address)))
    path = stack_state_dir(stack) / "certificates" / f"{host.name}-door.pem"
    now = datetime.now(UTC)
    with lock_of_ca():
        trusted = read_trust(stack).gateway
        current = certificates.ca_certificate(_folder(), now, keep=keep)
        older = () if current in trusted else (*certificates.authorities(_folder()), *trusted)
        share = WAITING_SHARE if trusted else certificates.OLDER_SHARE
        pem = certificates.server_certificate(
            path, _folder(), names, days, now, keep=keep, older=older, older_share=share
        )
    return Secret(pem)


def door_cas(stack: str, shown: Mapping[str, Secret], *, keep: bool = True) -> str:
    """Return the PEMs of the CAs that the gateway's host must trust. The first signs, and is made if missing.

    `shown`: the certificates that the hosts behind it get, by host. Before that, each shows the one that is noted.
    """
    from provisioning.access import certificates

    with lock_of_ca():
        current = certificates.ca_certificate(_folder(), datetime.now(UTC), keep=keep)
        trust = read_trust(stack)
        issuers = [_issuer(pem.value, trust) for pem in shown.values()]
    noted = [trust.doors[host] for host in shown if host in trust.doors]
    return "".join(dict.fromkeys([current, *noted, *filter(None, issuers)]))


def note_door(stack: str, host: str, certificate: Secret) -> None:
    """Note the certificate that a host behind the gateway's shows now."""
    with lock_of_ca():
        trust = read_trust(stack)
        issuer = _issuer(certificate.value, trust)
        if issuer is not None and issuer != trust.doors.get(host):
            write_trust(stack, replace(trust, doors={**trust.doors, host: issuer}))


def note_gateway(stack: str, trusted: str, behind: Sequence[str]) -> None:
    """Note the CAs that the gateway's host trusts now, PEMs. Hosts that are not in `behind` any more are forgotten."""
    from provisioning.access.certificates import each_pem

    with lock_of_ca():
        before = read_trust(stack)
        doors = {host: issuer for host, issuer in before.doors.items() if host in behind}
        trust = DoorTrust(gateway=tuple(each_pem(trusted)), doors=doors)
        if trust != before:
            write_trust(stack, trust)


def doors_of_old_ca(stack: str) -> tuple[str, ...]:
    """Return the hosts that still show a certificate of a CA that was replaced."""
    from provisioning.access.certificates import authorities

    current = authorities(_folder())[:1]
    return tuple(host for host, issuer in read_trust(stack).doors.items() if issuer not in current)


def _issuer(pem: str, trust: DoorTrust) -> str | None:
    """Return which of the CAs that we know signed a certificate."""
    from provisioning.access.certificates import authorities, issuer_of

    return issuer_of(pem, (*authorities(_folder()), *trust.gateway, *trust.doors.values()))


def _folder() -> Path:
    """Return where the checkout's CA is."""
    return state_dir() / "ca"
