"""A host key in a file is a type and a whole key of that type; errors for other text say what to write."""

import base64
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import ConfigError
from infra.contract.host_key_line import host_key_line
from infra.contract.outputs import StackOutputs
from provisioning.hosts.inventory import _checked
from tests.unit.provisioning.records import host_values, stack_values


def line(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Return the public key as sshd prints it."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED25519 = line(ed25519.Ed25519PrivateKey.generate())
RSA = line(rsa.generate_private_key(65537, 2048))
ECDSA = [line(ec.generate_private_key(curve)) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]
BLOB = base64.b64decode(ED25519.split()[1])


def shortened(text: str, cut: int) -> str:
    """Return a key without its last `cut` bytes."""
    label, encoded = text.split()
    return f"{label} {base64.b64encode(base64.b64decode(encoded)[:-cut]).decode()}"


@pytest.mark.parametrize("text", [ED25519, RSA, *ECDSA], ids=lambda text: text.split()[0])
def test_accepts_the_keys_that_sshd_prints(text: str) -> None:
    assert host_key_line(text) == text


REFUSED = {
    "bad base64": ("ssh-ed25519 AAAAfoo", "is not a whole key; copy the whole line again"),
    "no length": ("ssh-ed25519 AAAA", "is not a whole key"),
    "a truncated length": ("ssh-ed25519 AAAAA", "is not a whole key"),
    "mislabelled ed25519": (
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        "is labelled ssh-rsa but holds a key of type ssh-ed25519; write ",
    ),
    "mislabelled curve": (ECDSA[0].replace("nistp256", "nistp384"), "but holds a key of type ecdsa-sha2-nistp256"),
    "truncated text": (ED25519[:-8], "is not a whole key"),
    "one byte short": (shortened(ED25519, 1), "is not a whole key"),
    "short rsa": (shortened(RSA, 40), "is not a whole key"),
    "short ecdsa": (shortened(ECDSA[2], 1), "is not a whole key"),
    "bytes behind the key": ("ssh-ed25519 " + base64.b64encode(BLOB + b"more").decode(), "is not a whole key"),
    "another type inside": ("ssh-ed25519 " + base64.b64encode(b"\0\0\0\3foo").decode(), "holds no host key"),
    "an address in front": (f"10.0.0.4 {ED25519}", f"has 10.0.0.4 in front of the key; write only '{ED25519}'"),
    "an address with a port in front": (f"[10.0.0.4]:2222 {ED25519} box", "has [10.0.0.4]:2222 in front of the key"),
    "a comment": (f"{ED25519} root@box", f"has more than type and key; write only '{ED25519}'"),
    "a line break": (f"{ED25519}\n", "has more than type and key"),
    "a type alone": ("ssh-ed25519", "is not a host key"),
    "another alphabet": ("ssh-ed25519 AA\u00e4A", "is not a host key"),
    "dss": ("ssh-dss AAAA", "is not a host key"),
    "nothing": ("", "is not a host key"),
}


# The keys differ between the workers of a test run, but test names must not.
@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_rejects_other_text_and_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        host_key_line(text)


def test_rejects_an_incomplete_key_when_the_file_is_read() -> None:
    """`ssh-ed25519 AAAAfoo` was once accepted and ended `plan` with a traceback from paramiko."""
    values = stack_values(host_values(host_keys=["ssh-ed25519 AAAAfoo"]))
    with pytest.raises(ConfigError) as caught:
        _checked(values, "hosts.yaml")
    assert str(caught.value) == (
        "hosts.yaml: hosts[0].host_keys[0]: 'ssh-ed25519 AAAAfoo' is not a whole key; "
        "copy the whole line again from `ssh-keyscan HOST`"
    )


def test_the_error_shows_the_line_to_write() -> None:
    """A public key is not a secret, though it looks like one."""
    values = stack_values(host_values(host_keys=[f"10.0.0.4 {ED25519}"]))
    with pytest.raises(ConfigError) as caught:
        _checked(values, "hosts.yaml")
    assert str(caught.value).endswith(f"has 10.0.0.4 in front of the key; write only '{ED25519}'")
    assert StackOutputs.model_validate(stack_values(host_values(host_keys=[ED25519])))
