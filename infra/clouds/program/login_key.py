"""The SSH key for machines on AWS and GCP: the user's own, or one made for the stack."""

from pathlib import Path

from core.errors import ConfigError
from infra.clouds.program.ssh_key import KeyPair, stack_key_pair


def login_key(stack: str, identity_file: Path | None) -> KeyPair:
    """Return the key pair, made on first use. Raises ConfigError if the user's public key file is missing."""
    return stack_key_pair(stack) if identity_file is None else key_of_file(identity_file)


def key_of_file(identity_file: Path) -> KeyPair:
    """Return a user's key pair. Raises ConfigError if the public key file is not beside the private one."""
    private = identity_file.expanduser()
    public = private.with_name(private.name + ".pub")
    try:
        kind, key = public.read_text().split()[:2]
    except (OSError, ValueError):
        raise ConfigError(
            "cannot be read",
            where=f"machine.identity_file: {public}",
            hint=f"make it with `ssh-keygen -y -f {private} > {public}`",
        ) from None
    return KeyPair(private, f"{kind} {key}")
