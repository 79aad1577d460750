"""What of a safetensors file is believed: the header may lie, and another file may lie in its place."""

import io
import json
from typing import Any

import pytest

from serving.formats.json_text import FormatError
from serving.formats.weight_heads import Tensor, read_head


def file(header: Any, weights: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + weights


ONE = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def test_a_whole_file_tells_its_tensors() -> None:
    content = file({"__metadata__": {"format": "pt"}, "a": ONE}, bytes(16))
    assert read_head(io.BytesIO(content), len(content)) == {"a": Tensor("F32", (2, 2))}


LIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "has only 0 bytes"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer"),
    "HTML": (b"<!DOCTYPE html><html>", "header is longer than the file may be"),
    "a header of exabytes": (file({}, length=1 << 62), "header is longer than the file may be"),
    "a header beyond the end": (file({"a": ONE}, length=100_000), "header is longer than the file may be"),
    "a header that is a list": (file([]), "its header is not a JSON object"),
    "a header that is not JSON": (file(b"{" * 8), "its header is not JSON"),
    "a deep header": (file(b"[" * 100_000), "its header is nested too deeply"),
    "a header with a byte order mark": (file(b"\xef\xbb\xbf{}"), "its header begins with a byte order mark"),
    "notes that are a list": (file({"__metadata__": [], "a": ONE}, bytes(16)), "its __metadata__ is not an object of"),
    "notes with a number": (file({"__metadata__": {"a": 1}, "a": ONE}, bytes(16)), "its __metadata__ is not an object"),
    "notes with half a character": (file(b'{"__metadata__": {"a": "\\ud800"}}'), "its __metadata__ is not an object"),
    "notes twice": (file(b'{"__metadata__": {}, "__metadata__": {}}'), "its header has __metadata__ twice"),
    "a type twice": (
        file(json.dumps({"a": ONE}).replace("}", ', "dtype": "F32"}', 1).encode(), bytes(16)),
        "its header has dtype twice",
    ),
    "a name that moves the cursor": (file({"\x1b[2J": ONE}), "its header has the name '\\x1b[2J', with control char"),
    "an entry that is a number": (file({"a": 1}), "does not describe a"),
    "sizes that are text": (file({"a": {**ONE, "shape": "22"}}), "does not describe a"),
    "a negative size": (file({"a": {**ONE, "shape": [-2, -2]}}), "does not describe a"),
    "sizes without end": (file({"a": {**ONE, "shape": [1] * 100_000}}), "does not describe a"),
    "a size beyond all numbers": (file({"a": {**ONE, "shape": [1 << 64, 0], "data_offsets": [0, 0]}}), "describe a"),
    "sizes beyond all numbers": (
        file({"a": {**ONE, "shape": [1 << 40, 1 << 40, 0], "data_offsets": [0, 0]}}),
        "does not describe a",
    ),
    "true as size": (file({"a": {**ONE, "shape": [True, 4]}}), "does not describe a"),
    "no place": (file({"a": {"dtype": "F32", "shape": [2, 2]}}), "does not describe a"),
    "an unknown type": (file({"a": {**ONE, "dtype": "F99"}}), "does not describe a"),
    "a list as type": (file({"a": {**ONE, "dtype": []}}), "does not describe a"),
    "more bytes than its sizes": (file({"a": {**ONE, "data_offsets": [0, 17]}}, bytes(17)), "a has other bytes than"),
    "two in one place": (file({"a": ONE, "b": ONE}, bytes(16)), "b begins at 0, not 16"),
    "a hole": (file({"a": {**ONE, "data_offsets": [4, 20]}}, bytes(20)), "a begins at 4, not 0"),
    "cut off": (file({"a": ONE}, bytes(15)), "its weights have 15 bytes, its header says 16"),
    "more at its end": (file({"a": ONE}, bytes(17)), "its weights have 17 bytes, its header says 16"),
}


def test_what_the_library_takes_passes() -> None:
    """A tensor that is there twice in one place, notes that are null, and keys that are not known."""
    one = json.dumps({**ONE, "x": 1})
    content = file(f'{{"a": {one}, "__metadata__": null, "a": {one}}}'.encode(), bytes(16))
    assert read_head(io.BytesIO(content), len(content)) == {"a": Tensor("F32", (2, 2))}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused_in_one_line(name: str) -> None:
    content, words = LIES[name]
    with pytest.raises(FormatError) as caught:
        read_head(io.BytesIO(content), len(content))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
