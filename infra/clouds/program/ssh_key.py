"""SSH key pairs of type ed25519, made on disk. Does not open connections."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.files import write_atomically
from core.paths import stack_state_dir

KEY_NAME = "id_ed25519"


@dataclass(frozen=True)
class KeyPair:
    """A private key's file and the public half, e.g. `ssh-ed25519 AAAA…`, without a comment."""

    private_file: Path
    public: str


def stack_key_pair(stack: str) -> KeyPair:
    """Return the key pair for the machines of `stack`, made on first use."""
    path = stack_state_dir(stack) / KEY_NAME
    public = path.with_name(path.name + ".pub")
    if path.exists() and public.exists():
        return KeyPair(path, " ".join(public.read_text().split()[:2]))
    return make_key_pair(path, comment=f"llm-deploy {stack}")


def make_key_pair(path: Path, *, comment: str) -> KeyPair:
    """Write a new private key to `path`, 0600, and its public half beside it; return them."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    write_atomically(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600)
    write_atomically(path.with_name(path.name + ".pub"), f"{public} {comment}\n", mode=0o644)
    return KeyPair(path, public)
