"""The SSH host key of a host. It is made here, so it is known before the first connection.

It is a secret in the stack's state, where Pulumi's Stash resource keeps the first value; user data puts it on the host.
docs/decisions says who can read it there, and why we accept that.
"""

from dataclasses import dataclass

import pulumi
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)


@dataclass(frozen=True)
class HostKey:
    """Both halves of a host key."""

    private: pulumi.Output[str]
    """Secret: PEM as OpenSSH writes it."""

    public: pulumi.Output[str]
    """`ssh-ed25519 AAAA…`, without a comment."""


def host_key(host: str, opts: pulumi.ResourceOptions) -> HostKey:
    """Return the key of a host: the one in the state, or a new one."""
    once = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["input"]))
    stash = pulumi.Stash(f"{host}-host-key", input=pulumi.Output.secret(new_private_key()), opts=once)
    private: pulumi.Output[str] = stash.output.apply(str)  # stays a secret, like the key that was stored
    return HostKey(private, pulumi.Output.unsecret(private.apply(public_half)))


def new_private_key() -> str:
    """Return a new ed25519 key."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_half(private: str) -> str:
    """Return the public half of a private key as a host key line."""
    public = load_ssh_private_key(private.encode(), password=None).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
