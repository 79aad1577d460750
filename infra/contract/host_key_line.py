"""One SSH host key as a line `TYPE BASE64`, checked down to its last byte (RFC 4253, RFC 5656, RFC 8709).

Checked when the file is read: paramiko answers a damaged key with a traceback, and only at the first connection.
"""

import base64
import binascii
import re
import struct

EXAMPLE = "ssh-ed25519 AAAA…"

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")

ED25519_BYTES = 32
POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
"""An uncompressed point of each curve: a 4, then both coordinates."""

MIN_RSA_BITS = 1024
"""OpenSSH refuses shorter keys since version 9.1 (RequiredRSASize)."""

NO_HOST_KEY = f"is not a host key; write type and key as `ssh-keyscan HOST` prints them after the host, e.g. {EXAMPLE}"
SHOWN_CHARS = 200
DAMAGED = "copy the whole line again from `ssh-keyscan HOST`"


def host_key_line(text: str) -> str:
    """Return `text` if it is a type and a whole key of this type. Raises ValueError that says what to write."""
    words = text.split()
    at = next((index for index, word in enumerate(words) if word in KEY_TYPES), None)
    if at is None or at + 1 >= len(words):
        raise ValueError(NO_HOST_KEY)
    label, encoded = words[at], words[at + 1]
    _check_blob(label, encoded)
    line = f"{label} {encoded}"
    if text == line:
        return text
    written = line if len(line) <= SHOWN_CHARS else f"{line[:SHOWN_CHARS]}…"  # RSA keys are the longest
    what = f"has {' '.join(words[:at])} in front of the key" if at else "has more than type and key"
    raise ValueError(f"{what}; write only '{written}'")


def _check_blob(label: str, encoded: str) -> None:
    """Raise ValueError unless `encoded` is a whole key of the type that `label` names."""
    if not re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded):
        raise ValueError(NO_HOST_KEY)
    try:
        fields = _fields(base64.b64decode(encoded, validate=True))
    except (binascii.Error, struct.error):
        raise ValueError(f"is not a whole key; {DAMAGED}") from None
    inner = fields[0].decode("ascii", "replace")
    if inner not in KEY_TYPES:
        raise ValueError(f"holds no host key; {DAMAGED}")
    if inner != label:
        raise ValueError(f"is labelled {label} but holds a key of type {inner}; write {inner} in front of the key")
    if not _is_whole(label, fields[1:]):
        raise ValueError(f"is not a whole key; {DAMAGED}")


def _fields(blob: bytes) -> list[bytes]:
    """Return the length-prefixed fields of a key. Raises struct.error when the last one is cut off."""
    fields: list[bytes] = []
    while blob or not fields:
        (length,) = struct.unpack_from(">I", blob)
        field, blob = blob[4 : 4 + length], blob[4 + length :]
        if len(field) < length:
            raise struct.error("cut off")
        fields.append(field)
    return fields


def _is_whole(label: str, fields: list[bytes]) -> bool:
    """Return whether the fields after the type are those of a key of this type, of the right sizes."""
    if label == "ssh-ed25519":
        return [len(field) for field in fields] == [ED25519_BYTES]
    if label == "ssh-rsa":
        return len(fields) == 2 and bool(fields[0]) and 8 * len(fields[1].lstrip(b"\0")) >= MIN_RSA_BITS  # noqa: PLR2004
    curve = label.rpartition("-")[2]
    return len(fields) == 2 and fields[0] == curve.encode() and len(fields[1]) == POINT_BYTES[curve]  # noqa: PLR2004
