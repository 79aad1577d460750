"""What a person reads while uv builds an environment: what runs now, and not the step that has ended."""

import pytest

from provisioning.converge.agent.kinds.venv import under_way


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("", "resolving"),
        ("Using Python 3.11.2 environment at: /v", "resolving"),
        ("Resolved 164 packages in 146ms", "downloading"),
        ("Prepared 164 packages in 30s", "installing"),
        ("Installed 164 packages in 2.93s", "compiling bytecode"),
        ("Bytecode compiled 9000 files in 75s", "finishing"),
        ("warning: a wheel is slow", "warning: a wheel is slow"),
    ],
)
def test_a_line_about_an_ended_step_tells_the_next(line: str, now: str) -> None:
    assert under_way(line) == now
