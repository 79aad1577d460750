"""The certificates of the hosts behind a gateway's, signed by the checkout's CA, whichever CA signs the gateway's own.

Made and kept on the controlling machine, one for each host. Sends nothing.
"""

from datetime import UTC, datetime

from core.paths import stack_state_dir, state_dir
from infra.contract.outputs import HostRecord
from provisioning.access.credentials import lock_of_ca
from provisioning.converge.resources import Secret
from serving.spec.gateway_fields import ProjectCa
from serving.spec.models import GatewaySpec


def door_certificate(stack: str, host: HostRecord, gateway: GatewaySpec, *, keep: bool = True) -> Secret:
    """Return certificate and private key of `host` behind a gateway as one PEM, made if missing or due for renewal.

    They are written unless `keep` is false.
    """
    from provisioning.access import certificates  # cryptography takes 0.1 s, and most tasks need none

    days = gateway.tls.days if isinstance(gateway.tls, ProjectCa) else ProjectCa().days
    names = tuple(dict.fromkeys((host.name, host.peer_address)))
    path = stack_state_dir(stack) / "certificates" / f"{host.name}-door.pem"
    folder = state_dir() / "ca"
    with lock_of_ca():
        pem = certificates.server_certificate(path, folder, names, days, datetime.now(UTC), keep=keep)
    return Secret(pem)


def door_ca(*, keep: bool = True) -> str:
    """Return the PEM of the CA that signs the doors' certificates, made if there is none."""
    from provisioning.access import certificates

    with lock_of_ca():
        return certificates.ca_certificate(state_dir() / "ca", datetime.now(UTC), keep=keep)
