"""Why a program did not even begin on a host, from what its shell or sudo says."""

import pytest

from provisioning.ssh.remote import not_begun
from tests.unit.provisioning.records import ssh_target

WORDS = {
    "bash without the program": ("python3", 127, "bash: line 1: python3: command not found", "has no python3"),
    "dash without the program": ("systemctl", 127, "sh: 1: systemctl: not found", "has no systemctl"),
    "sudo without the program": ("python3", 1, "sudo: python3: command not found", "has no python3"),
    "a host without sudo": ("python3", 127, "bash: line 1: sudo: command not found", "has no sudo"),
    "a host without sudo, dash": ("python3", 127, "sh: 1: sudo: not found", "has no sudo"),
    "a host without sudo, zsh": ("python3", 127, "zsh:1: command not found: sudo", "has no sudo"),
    "sudo that asks": ("python3", 1, "sudo: a password is required", "sudo refused"),
    "sudo-rs that asks": ("python3", 1, "sudo-rs: interactive authentication is required", "sudo refused"),
    "sudo for some commands only": (
        "python3",
        1,
        "Sorry, user admin is not allowed to execute '/usr/bin/sh -c x' as root on gpu-1.",
        "sudo refused",
    ),
    "not a sudoer": ("python3", 1, "admin is not in the sudoers file.", "sudo refused"),
    "a program that fails": ("systemctl", 4, "Unit x.service not found.", None),
    "a program that ends with 127 itself": ("sh", 127, "", None),
}


@pytest.mark.parametrize(("program", "status", "said", "what"), WORDS.values(), ids=WORDS.keys())
def test_command_that_never_started_differs_from_one_that_failed(
    program: str, status: int, said: str, what: str | None
) -> None:
    error = not_begun(ssh_target(), program, status, said, where="one")
    assert (error and error.what) == what


def test_missing_python_names_the_required_version() -> None:
    error = not_begun(ssh_target(), "python3", 127, "python3: not found", where="one")
    assert str(error) == "one: has no python3; install python3 (3.8 or newer) there"
