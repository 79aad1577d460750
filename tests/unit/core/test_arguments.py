"""Errors on a command line."""

import re

import pytest

from core.arguments import Parser
from core.paths import CHECKOUT
from infra.lifecycle.orphans import command
from tests.unit.test_import_order import BELOW


def test_an_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="make demo")
    parser.add_argument("--engine", choices=["vllm", "ollama"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--engine", "foo"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: make demo: argument --engine: invalid choice: 'foo' (choose from 'vllm', 'ollama');"
        " ARGS=--help lists the options"
    ]


def test_an_option_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    """`make orphans CLOUD=aws ARGS=--d` once meant --delete."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--cloud", "aws", "--d"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --d;" in capsys.readouterr().err


def test_no_parser_accepts_abbreviated_options() -> None:
    """Programs on hosts and the benchmark's engine use argparse directly: they do not import core."""
    files = [path for folder in BELOW for path in (CHECKOUT / folder).rglob("*.py")]
    made = {path: re.findall(r"argparse\.ArgumentParser\(([^)]*)\)", path.read_text()) for path in files}
    assert sum(map(len, made.values())) == 4
    assert [path for path, found in made.items() if any("allow_abbrev=False" not in words for words in found)] == []
