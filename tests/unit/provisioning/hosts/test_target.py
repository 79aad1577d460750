"""A target is a stack or an inventory, and commands name it as it was named."""

import shlex
import subprocess

import pytest

from core.errors import UsageError
from core.paths import CHECKOUT
from provisioning.hosts.target import Target


@pytest.mark.parametrize(("one", "other"), [("", ""), ("local", "hosts.yaml")], ids=["neither", "both"])
def test_a_target_is_a_stack_or_an_inventory(one: str, other: str) -> None:
    with pytest.raises(UsageError):
        Target(stack=one, inventory=other)


@pytest.mark.parametrize(
    ("target", "words", "typed"),
    [
        (Target(stack="local"), ("plan",), "make plan STACK=local"),
        (Target(inventory="h.yaml"), ("plan",), "make plan INVENTORY=h.yaml"),
        (Target(inventory="h.yaml"), ("adapters", "DO=apply"), "make adapters DO=apply INVENTORY=h.yaml"),
    ],
)
def test_commands_name_the_same_hosts_and_can_be_pasted(target: Target, words: tuple[str, ...], typed: str) -> None:
    """`fab` is on nobody's PATH, and `make` once knew of no inventory."""
    assert target.command(*words) == typed
    dry = subprocess.run([*shlex.split(typed), "-n"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
