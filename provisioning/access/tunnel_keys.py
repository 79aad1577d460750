"""The two secrets of a published engine: the key pair of its SSH tunnel, and the key between gateway and engine.

Made and kept on the controlling machine. Without a tunnel the engine's key never leaves its host; here two hosts share
it.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from core.paths import stack_state_dir
from infra.clouds.program.ssh_key import KEY_NAME, make_key_pair
from provisioning.access.engine_key import FILE_NAME, key_at
from provisioning.converge.resources import Secret


@dataclass(frozen=True)
class TunnelKeys:
    """The secrets that the two ends of a tunnel share."""

    private: Secret
    """The dialling end's private key, as OpenSSH writes it."""
    public: str
    """Its public half, `ssh-ed25519 AAAA…`."""
    engine: Secret
    """The key that the gateway sends to the engine."""


def tunnel_keys(stack: str, *, keep: bool = True) -> TunnelKeys:
    """Return the keys of `stack`. Makes them on first use, and keeps them unless `keep` is false."""
    folder = stack_state_dir(stack) / "tunnel"
    if keep or folder.exists():
        return _keys_in(folder, stack)
    with TemporaryDirectory() as passing:
        return _keys_in(Path(passing), stack)


def _keys_in(folder: Path, stack: str) -> TunnelKeys:
    """Return the keys in `folder`, made if they are missing."""
    private, public = folder / KEY_NAME, folder / f"{KEY_NAME}.pub"
    if not (private.exists() and public.exists()):
        folder.mkdir(mode=0o700, exist_ok=True)
        make_key_pair(private, comment=f"llm-deploy tunnel {stack}")
    return TunnelKeys(Secret(private.read_text()), " ".join(public.read_text().split()[:2]), key_at(folder / FILE_NAME))
