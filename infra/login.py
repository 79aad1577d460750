"""The key with which people log in to rented machines: the user's own, or one made for the stack."""

from pathlib import Path

from core.errors import ConfigError
from infra.ssh_key import KeyPair, stack_key_pair


def login_key(stack: str, identity_file: Path | None) -> KeyPair:
    """Return the key pair. Raises ConfigError when the public half of the user's key is not beside it."""
    if identity_file is None:
        return stack_key_pair(stack)
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
