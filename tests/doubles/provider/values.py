"""Values on the wire between engine and provider: protobuf Structs with marks for unknown and secret values."""

from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.rpc import UNKNOWN, _special_secret_sig, _special_sig_key

__all__ = ["UNKNOWN", "from_struct", "holds_unknown", "plain", "to_struct"]

Properties = dict[str, Any]


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """Return a Struct as Python values: whole numbers as int, secrets bare, nulls left out, unknowns as UNKNOWN."""
    return {key: plain(value) for key, value in MessageToDict(struct).items() if value is not None}


def to_struct(properties: Properties) -> struct_pb2.Struct:
    """Return Python values as a Struct."""
    struct = struct_pb2.Struct()
    struct.update({key: value for key, value in properties.items() if value is not None})
    return struct


def holds_unknown(value: Any) -> bool:
    """Return whether `value` is, or contains, a value that is known only after an `up`."""
    if isinstance(value, dict):
        return any(map(holds_unknown, value.values()))
    if isinstance(value, list):
        return any(map(holds_unknown, value))
    return bool(value == UNKNOWN)


def plain(value: Any) -> Any:
    """Return a value in Python's form: whole numbers as int, secrets bare, nulls left out."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        if value.get(_special_sig_key) == _special_secret_sig:
            return plain(value["value"])
        return {key: plain(each) for key, each in value.items() if each is not None}
    return value
