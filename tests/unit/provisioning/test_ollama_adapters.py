"""Adapters get their rows in the order that Ollama's converter turns into the right one."""

import json
import random
from array import array
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.llm_ollama.rotary import CONFIG, WEIGHTS, Heads, rewrite
from provisioning.programs.llm_ollama.store import ModelError
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
    """Return what Ollama makes of a lora_A: `repack` of convert_llama_adapter.go, which takes columns for rows."""
    numbers = [number for row in matrix for number in row]
    rank, width = len(matrix), len(matrix[0])
    moved = permuted([numbers[start : start + rank] for start in range(0, len(numbers), rank)], heads)
    flat = [number for row in moved for number in row]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


@pytest.mark.parametrize(
    ("config", "key_heads_of_a"), [({}, HEADS), ({"num_key_value_heads": KEY_HEADS}, KEY_HEADS)], ids=["peft", "named"]
)
def test_ollama_ends_with_a_as_trained_and_b_in_the_order_of_gguf(
    tmp_path: Path, config: dict[str, int], key_heads_of_a: int
) -> None:
    """Once it got the files as they were, and adapters on q_proj and k_proj answered wrongly without a word."""
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


def test_gemmas_adapters_stay_as_they_are(tmp_path: Path) -> None:
    adapter(tmp_path)
    assert not rewrite(tmp_path, tmp_path / "new", Heads("gemma2", HEADS, KEY_HEADS))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "heads", "words"),
    [
        ({"use_rslora": True}, LLAMA, "use_rslora is not known to Ollama"),
        ({"rank": WIDTH}, LLAMA, "its rank is above the width of its module"),
        ({}, Heads("llama", 5, 5), "which do not go into 5 heads"),
        ({}, Heads("llama", 0, 0), "which do not go into 0 heads"),
    ],
    ids=["rslora", "rank", "heads", "no heads"],
)
def test_what_ollama_would_convert_wrongly_is_refused(
    tmp_path: Path, options: dict[str, Any], heads: Heads, words: str
) -> None:
    adapter(tmp_path, **options)
    with pytest.raises(ModelError, match=words):
        rewrite(tmp_path, tmp_path / "new", heads)


def test_heads_come_from_the_metadata_of_the_base_model() -> None:
    names = {"general.architecture": "llama", "llama.attention.head_count": 8, "llama.attention.head_count_kv": 2}
    assert vars(Heads.of(names)) == {"architecture": "llama", "queries": 8, "keys": 2}
    del names["llama.attention.head_count_kv"]
    assert Heads.of(names).keys == 8
