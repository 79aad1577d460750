"""Adapters get their rows in the order that Ollama's converter turns into the correct one."""

import json
import random
from array import array
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.ollama.llm_ollama.rotary import CONFIG, WEIGHTS, Heads, rewrite
from provisioning.programs.ollama.llm_ollama.store import ModelError
from tests.gguf import read_safetensors

HEADS, KEY_HEADS, WIDTH, RANK = 4, 2, 32, 3
LLAMA = Heads("llama", HEADS, KEY_HEADS)
PREFIX = "base_model.model.model.layers.0.self_attn"
ROWS = {"q_proj": WIDTH, "k_proj": WIDTH // 2, "v_proj": WIDTH // 2}

Matrix = list[list[float]]


def adapter(folder: Path, rank: int = RANK, **config: Any) -> dict[str, Matrix]:
    """Write an adapter of random numbers; return its matrices by name."""
    draw = random.Random(5)  # noqa: S311  # no secret
    shapes = {f"{PREFIX}.{name}.lora_A.weight": (rank, WIDTH) for name in ROWS}
    shapes |= {f"{PREFIX}.{name}.lora_B.weight": (rows, rank) for name, rows in ROWS.items()}
    matrices = {
        name: [[float(draw.randrange(1000)) for _ in range(columns)] for _ in range(rows)]
        for name, (rows, columns) in shapes.items()
    }
    header, data = {}, b""
    for name, matrix in matrices.items():
        numbers = array("f", [number for row in matrix for number in row]).tobytes()
        place = [len(data), len(data) + len(numbers)]
        header[name] = {"dtype": "F32", "shape": [len(matrix), len(matrix[0])], "data_offsets": place}
        data += numbers
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / CONFIG).write_text(json.dumps({"r": rank, "lora_alpha": 16, **config}))
    return matrices


def permuted(rows: Matrix, heads: int) -> Matrix:
    """Return `rows` in the order of a GGUF file: reshape(heads, 2, half).swapaxes(1, 2), as llama.cpp does."""
    half = len(rows) // heads // 2
    return [
        rows[head * 2 * half + side * half + row] for head in range(heads) for row in range(half) for side in (0, 1)
    ]


def converted_a(matrix: Matrix, heads: int) -> Matrix:
    """Return Ollama's result for a lora_A: `repack` of convert_llama_adapter.go, which treats columns as rows."""
    numbers = [number for row in matrix for number in row]
    rank, width = len(matrix), len(matrix[0])
    moved = permuted([numbers[start : start + rank] for start in range(0, len(numbers), rank)], heads)
    flat = [number for row in moved for number in row]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


@pytest.mark.parametrize(
    ("config", "key_heads_of_a"), [({}, HEADS), ({"num_key_value_heads": KEY_HEADS}, KEY_HEADS)], ids=["peft", "named"]
)
def test_ollama_gets_a_as_trained_and_b_in_the_order_of_gguf(
    tmp_path: Path, config: dict[str, int], key_heads_of_a: int
) -> None:
    """It got unchanged files, and adapters on q_proj and k_proj silently gave wrong answers."""
    before = adapter(tmp_path, **config)
    assert rewrite(tmp_path, tmp_path / "new", LLAMA)
    after = read_safetensors(tmp_path / "new")
    assert set(after) == set(before)
    for module, of_a, of_b in (("q_proj", HEADS, HEADS), ("k_proj", key_heads_of_a, KEY_HEADS)):
        a, b = (f"{PREFIX}.{module}.lora_{matrix}.weight" for matrix in "AB")
        assert converted_a(after[a], of_a) == before[a]
        assert after[a] != before[a]
        assert after[b] == permuted(before[b], of_b)
    for matrix in "AB":
        assert after[f"{PREFIX}.v_proj.lora_{matrix}.weight"] == before[f"{PREFIX}.v_proj.lora_{matrix}.weight"]


def test_gemmas_adapters_are_not_changed(tmp_path: Path) -> None:
    adapter(tmp_path)
    assert not rewrite(tmp_path, tmp_path / "new", Heads("gemma2", HEADS, KEY_HEADS))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "heads", "words"),
    [
        ({"use_rslora": True}, LLAMA, "Ollama does not support use_rslora"),
        ({"rank": WIDTH}, LLAMA, "its rank is above the width of its module"),
        ({}, Heads("llama", 5, 5), "which cannot be divided into 5 heads"),
        ({}, Heads("llama", 0, 0), "which cannot be divided into 0 heads"),
    ],
    ids=["rslora", "rank", "heads", "no heads"],
)
def test_adapters_that_ollama_would_convert_wrongly_are_refused(
    tmp_path: Path, options: dict[str, Any], heads: Heads, words: str
) -> None:
    adapter(tmp_path, **options)
    with pytest.raises(ModelError, match=words):
        rewrite(tmp_path, tmp_path / "new", heads)


def header(**entry: Any) -> bytes:
    """Return weights of 64 bytes, with a correct entry for lora_A of q_proj, changed by the fields of `entry`."""
    fields = {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64], **entry}
    text = json.dumps({f"{PREFIX}.q_proj.lora_A.weight": fields}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


DAMAGED = {
    "no byte of weights": (WEIGHTS, b""),
    "half a length": (WEIGHTS, b"\1\0\0"),
    "a header that is cut off": (WEIGHTS, header()[:30]),
    "a header longer than any memory": (WEIGHTS, b"\xff" * 16),
    "a header that is not JSON": (WEIGHTS, b"\2" + bytes(7) + b"{x"),
    "a header that is not text": (WEIGHTS, b"\2" + bytes(7) + b"\xff\xff"),
    "a header that is a list": (WEIGHTS, b"\3" + bytes(7) + b"[1]"),
    "a tensor that is a list": (WEIGHTS, b"\x0a" + bytes(7) + b'{"a": [1]}'),
    "a tensor without sizes": (WEIGHTS, header(shape=None)),
    "sizes that are words": (WEIGHTS, header(shape=["a", "b"])),
    "a size of nothing": (WEIGHTS, header(shape=[0, 8])),
    "sizes of other bytes": (WEIGHTS, header(shape=[2, 12])),
    "a place that is a word": (WEIGHTS, header(data_offsets=["a", "b"])),
    "a place before the first": (WEIGHTS, header(data_offsets=[-9999, 64])),
    "weights that are cut off": (WEIGHTS, header()[:-1]),
    "no config": (CONFIG, None),
    "a config that is not JSON": (CONFIG, b"{"),
    "a config that is not text": (CONFIG, b"\xff"),
    "a config that is a list": (CONFIG, b"[]"),
    "a config of endless lists": (CONFIG, b"[" * 100_000),
    "heads that are a word": (CONFIG, b'{"num_key_value_heads": "many"}'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_adapter_is_refused_in_one_line_that_names_the_file(tmp_path: Path, name: str) -> None:
    """Such a file crashed the program, so the base and all other adapters were not made either."""
    adapter(tmp_path)
    file, content = DAMAGED[name]
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        rewrite(tmp_path, tmp_path / "new", LLAMA)
    assert str(caught.value).startswith(str(tmp_path / file))
    assert str(caught.value).endswith("; get the adapter again")
    assert str(caught.value).isprintable()


def test_the_weights_for_the_damage_cases_are_valid_without_damage(tmp_path: Path) -> None:
    adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(header())
    assert rewrite(tmp_path, tmp_path / "new", LLAMA)


@pytest.mark.parametrize("heads", [[8, 4], "8", None])
def test_metadata_of_another_format_give_no_heads(heads: object) -> None:
    """A list with one number per layer crashed the program."""
    names = {"general.architecture": "gemma2", "gemma2.attention.head_count": heads}
    assert Heads.of(names).queries == 0


def test_heads_come_from_the_metadata_of_the_base_model() -> None:
    names = {"general.architecture": "llama", "llama.attention.head_count": 8, "llama.attention.head_count_kv": 2}
    assert vars(Heads.of(names)) == {"architecture": "llama", "queries": 8, "keys": 2}
    del names["llama.attention.head_count_kv"]
    assert Heads.of(names).keys == 8
