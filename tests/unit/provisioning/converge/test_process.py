"""Commands in a form for people."""

from provisioning.converge.agent.process import SHOWN_CHARS, shown


def test_a_command_is_shown_in_one_short_line() -> None:
    """A command with a whole program as argument filled the screen of a plan."""
    assert shown(["apt-get", "install", "nginx"]) == "apt-get install nginx"
    program = "import os\n" * 200
    line = shown(["python3", "-c", program])
    assert line.startswith("python3 -c import os import os")
    assert len(line) == SHOWN_CHARS
    assert line.endswith(" …")
