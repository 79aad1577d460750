"""Read names, types and sizes of the tensors in a safetensors file from its header, without the weights.

The rules are those of the safetensors library, which every engine uses: tensors have no gaps between them, each has the
bytes of its type and sizes, and the file ends with the last one.
"""

from __future__ import annotations

import re
import struct
from collections import namedtuple

from .json_text import FormatError, is_whole_number, read_json, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO

    Heads = Mapping[str, "Tensor"]

SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 25_000_000
"""A quarter of the safetensors library's limit. A model of 700 billion parameters in one file needs about 15 MB."""

MAX_SIZES = 16
"""Most sizes of one tensor. Weights have at most 5."""

MAX_SIZE = (1 << 64) - 1

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits of one number, by the name of its type in the format."""

NOTES = "__metadata__"
FIELDS = (NOTES, "dtype", "shape", "data_offsets")

LFS_START = b"version https://git-lfs.github.com/spec/"
"""Start of a Git LFS pointer, which takes the place of a file that was not fetched."""

AGAIN = "get it again"

Tensor = namedtuple("Tensor", ("dtype", "shape"))  # a class with types needs Python 3.9 syntax here
"""Type in the format's name, empty if only the tensor's name is known; sizes as a tuple, None if not known."""


def read_head(stream: BinaryIO, size: int | None = None) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name. `size` is that of the file in bytes, if known.

    Raises FormatError for a file of another kind, an incomplete file, and a Git LFS pointer.
    """
    start = stream.read(8)
    if LFS_START.startswith(start) and len(start) == 8:  # noqa: PLR2004
        raise FormatError("is a Git LFS pointer, not the file", "run `git lfs pull` in its folder")
    if len(start) < 8:  # noqa: PLR2004
        raise FormatError(f"has only {len(start)} bytes: it is not a whole safetensors file", AGAIN)
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER_BYTES or (size is not None and 8 + length > size):
        raise FormatError("is not a whole safetensors file: its header is longer than the file may be", AGAIN)
    content = stream.read(length)
    if len(content) != length:
        raise FormatError("is not a whole safetensors file: its header was cut off", AGAIN)
    try:
        header = read_json(content, _without_twins)
    except FormatError as error:
        raise FormatError(f"is not a safetensors file: its header {error.what}", AGAIN) from None
    return _tensors(header, None if size is None else size - 8 - length)


def _tensors(header: Any, size: int | None) -> dict[str, Tensor]:
    """Return the tensors in the header; `size` is that of all weights in bytes."""
    if not isinstance(header, dict):
        raise FormatError("is not a safetensors file: its header is not a JSON object", AGAIN)
    notes = header.pop(NOTES, None)
    if notes is not None and not (isinstance(notes, dict) and all(_is_text(each) for each in notes.values())):
        raise FormatError(f"is not a safetensors file: its {NOTES} is not an object of strings", AGAIN)
    found, places = {}, []
    for name, entry in header.items():
        tensor, place = _tensor(name, entry)
        found[name] = tensor
        places.append((*place, name))
    end = 0
    for begins, ends, name in sorted(places):
        if begins != end:
            raise FormatError(f"is not a whole safetensors file: {shown(name)} begins at {begins}, not {end}", AGAIN)
        end = ends
    if size is not None and end != size:
        what = f"is not a whole safetensors file: its weights have {size} bytes, its header says {end}"
        raise FormatError(what, AGAIN)
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of the header. Raises FormatError if a field is there twice. A tensor may be there twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next((name for name in FIELDS if names.count(name) > 1), "")
        if twice:
            raise FormatError(f"has {twice} twice", AGAIN)
    return value


def _tensor(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    """Return one tensor of the header, with its start and end. Raises FormatError if the entry is wrong."""
    wrong = FormatError(f"is not a safetensors file: its header does not describe {shown(name)}", AGAIN)
    if not isinstance(entry, dict):
        raise wrong
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS or not isinstance(shape, list) or not isinstance(offsets, list):
        raise wrong
    if len(shape) > MAX_SIZES or len(offsets) != 2 or not _whole_numbers((*shape, *offsets)):  # noqa: PLR2004
        raise wrong
    bits = BITS[dtype]
    for each in shape:
        bits *= each
        if max(each, bits // BITS[dtype]) > MAX_SIZE:  # the library stops here too, even if another size is 0
            raise wrong
    if bits != 8 * (offsets[1] - offsets[0]):
        raise FormatError(f"is not a safetensors file: {shown(name)} has other bytes than its sizes say", AGAIN)
    return Tensor(dtype, tuple(shape)), (offsets[0], offsets[1])


def _is_text(value: Any) -> bool:
    """Return whether `value` is a string without half a surrogate pair, which is valid in JSON but not in UTF-8."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _whole_numbers(values: tuple[Any, ...]) -> bool:
    return all(is_whole_number(each) and each >= 0 for each in values)
