"""Mistakes on a command line."""

import pytest

from core.arguments import Parser


def test_a_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="make demo")
    parser.add_argument("--engine", choices=["vllm", "ollama"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--engine", "foo"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: make demo: argument --engine: invalid choice: 'foo' (choose from 'vllm', 'ollama');"
        " --help shows what may be written"
    ]
