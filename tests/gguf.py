"""Reads the matrices of adapters: of the GGUF files that Ollama writes, and of safetensors. Enough to compare them."""

import json
import struct
from array import array
from pathlib import Path

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT = 8
F32, F16 = 0, 1
ALIGNMENT = 32

Matrix = list[list[float]]


def read_matrices(content: bytes) -> dict[str, Matrix]:
    """Return the rows of each matrix by name. Raises KeyError for metadata or a type that an adapter does not have."""
    place = 24

    def number(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{form}", content, place)
        place += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal place
        size = number("Q")
        place += size
        return content[place - size : place].decode()

    tensors, pairs = struct.unpack_from("<QQ", content, 8)
    for _ in range(pairs):
        text()
        kind = number("I")
        if kind == TEXT:
            text()
        else:
            place += SIZES[kind]
    found = []
    for _ in range(tensors):
        name = text()
        shape = [number("Q") for _ in range(number("I"))]
        found.append((name, shape, number("I"), number("Q")))
    data = -(-place // ALIGNMENT) * ALIGNMENT
    return {name: _matrix(content, shape, kind, data + offset) for name, shape, kind, offset in found}


def _matrix(content: bytes, shape: list[int], kind: int, start: int) -> Matrix:
    columns, rows = shape
    form = {F32: "f", F16: "e"}[kind]
    numbers = struct.unpack_from(f"<{columns * rows}{form}", content, start)
    return [list(numbers[begin : begin + columns]) for begin in range(0, len(numbers), columns)]


def read_safetensors(path: Path) -> dict[str, Matrix]:
    """Return the rows of each matrix of 32-bit numbers by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    found = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            columns = entry["shape"][-1]
            numbers = list(array("f", content[start + begin : start + end]))
            found[name] = [numbers[each : each + columns] for each in range(0, len(numbers), columns)]
    return found


def in_half_precision(matrix: Matrix) -> Matrix:
    """Return a matrix of 32-bit numbers as a file in 16 bits has it."""
    rows = (struct.pack(f"<{len(row)}e", *array("f", row)) for row in matrix)
    return [list(struct.unpack(f"<{len(row) // 2}e", row)) for row in rows]
