"""Strict YAML: values, errors with line and column, limits."""

import os
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from core.reading.strict_yaml import read_yaml

# What Pulumi engine 3.258 reads for the same words in a stack file (`pulumi config --json`): a config must mean the
# same to us and to the program.
AS_PULUMI = [
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("False", False), ("19:00", "19:00"),
    ("08:00", "08:00"), ("~", None), ("null", None), ("", None), ("1", 1), ("-3", -3), ("2.5", 2.5), (".5", 0.5),
    ("1.", 1.0), ("1e3", 1000.0), ("1.5e-3", 0.0015), ("123456789012", 123456789012), ('"8"', "8"), ("'true'", "true"),
    ("a b", "a b"), ("v1.2.3", "v1.2.3"), ("1.2.3.4/32", "1.2.3.4/32"), ('"2026-01-31"', "2026-01-31"),
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


@pytest.mark.parametrize(("written", "meant"), AS_PULUMI)
def test_a_plain_word_means_the_same_as_to_pulumi(file: Path, written: str, meant: Any) -> None:
    """PyYAML alone reads `19:00` as 1140 and `no` as false."""
    file.write_text(f"key: {written}\n")
    value = read_yaml(file, shown_as="x")["key"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize("written", ["0777", "0x10", "0o7", "1_000", ".inf", ".nan", "12:30:45"])
def test_odd_numbers_stay_text(file: Path, written: str) -> None:
    """The Pulumi engine reads these in its own way, so they stay text, and the rule of a number field rejects them."""
    file.write_text(f"key: {written}\n")
    assert read_yaml(file, shown_as="x") == {"key": written}


def test_json_and_merged_mappings_are_read(file: Path) -> None:
    """Outputs are JSON; stacks may share sections by anchors."""
    file.write_text('{"a": [1, {"b": "x\\u00e9"}], "c": 1.5e-05}')
    assert read_yaml(file, shown_as="x") == {"a": [1, {"b": "xé"}], "c": 1.5e-05}
    file.write_text("base: &b {p: 1, q: 2}\nmine: {<<: *b, q: 3}\n")
    assert read_yaml(file, shown_as="x")["mine"] == {"p": 1, "q": 3}


TAG = (
    "line 1, column 4: the value has a tag (a word with !); remove the tag; text that looks like a number needs quotes"
)
REFUSED = [
    ("a: 1\nb: 2\na: 3\n", "line 3, column 1: duplicate key a, first in line 1; keep one of the two"),
    ("a: {b: 1, c: 2, b: 3}\n", "line 1, column 17: duplicate key b, first in line 1; keep one of the two"),
    ("a:\n  - b: 1\n    b: 2\n", "line 3, column 5: duplicate key b, first in line 2; keep one of the two"),
    ("a: 2026-01-31\n", 'line 1, column 4: a date needs quotes; write e.g. "2026-01-31"'),
    ("? [a]\n: 1\n", "line 1, column 3: is not YAML: key must be one word; check the indentation, and quote "
     "text that contains `: ` or starts with @`%&*!|"),
    ("a:\n\tb: 1\n", "line 2, column 1: is not YAML: the line is indented with a tab; indent with spaces"),
    ("a: !!int abc\n", TAG),
    ("a: !!bool maybe\n", TAG),
    ("a: !!timestamp never\n", TAG),
    ("a: !!float x\n", TAG),
    ("a: !!binary '*'\n", TAG),
    ("a: !mine x\n", TAG),
    ("a: " + "[" * 60, "line 1, column 43: nests deeper than 40 levels; check that it is the right file"),
    ("a: " + "9" * 5000, "line 1, column 4: a number has 5000 digits; write fewer, or put text in quotes"),
    ("a: {<<: {[b]: 1}}\n", "line 1, column 10: is not YAML: key must be one word; check the indentation, and quote "
     "text that contains `: ` or starts with @`%&*!|"),
    ('"\\e[31m": 1\n"\\e[31m": 2\n', r"line 2, column 1: duplicate key \x1b[31m, first in line 1; keep one of "
     "the two"),
    ("a: 1\nb: \x07\n", "line 2: contains a character that YAML does not allow (U+0007); remove it; most editors do "
     "not show it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_an_error_has_file_line_and_column(file: Path, text: str, line: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_yaml(file, shown_as="x.yaml")
    assert str(refused.value) == f"x.yaml: {line}"


def test_an_error_does_not_quote_the_file(file: Path) -> None:
    """PyYAML's own message quotes the line."""
    file.write_text("token: hf_QwErTyUiOpAsDfGh: x\n")
    with pytest.raises(ConfigError) as refused:
        read_yaml(file, shown_as="x.yaml")
    assert "hf_" not in str(refused.value)


def test_a_file_in_another_encoding_is_an_error(file: Path) -> None:
    file.write_bytes("name: 모델\n".encode("euc-kr"))
    with pytest.raises(ConfigError, match=r"^x\.yaml: is not UTF-8 text \(byte 6\); save it as UTF-8$"):
        read_yaml(file, shown_as="x.yaml")


def test_a_folder_is_a_config_error_and_a_missing_file_is_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^x\.yaml: cannot be read"):
        read_yaml(tmp_path, shown_as="x.yaml")
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "none.yaml", shown_as="x.yaml")


def test_a_large_file_and_a_device_are_not_read_completely(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(ConfigError, match=r"^x: is larger than 4 MiB; check that it is the right file"):
        read_yaml(tmp_path / "large", shown_as="x")
    with pytest.raises(ConfigError, match=r"^/dev/zero: is not a regular file"):
        read_yaml(Path("/dev/zero"), shown_as="x")


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"pipe: is not a regular file"):
        read_yaml(tmp_path / "pipe", shown_as="x")


def test_a_byte_order_mark_is_ignored(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(file, shown_as="x") == {"a": 1}
