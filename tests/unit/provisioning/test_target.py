"""A target is a stack or an inventory, and commands name it as it was named."""

import pytest

from core.errors import UsageError
from provisioning.target import Target


@pytest.mark.parametrize(("one", "other"), [("", ""), ("local", "hosts.yaml")], ids=["neither", "both"])
def test_a_target_is_a_stack_or_an_inventory(one: str, other: str) -> None:
    with pytest.raises(UsageError):
        Target(stack=one, inventory=other)


def test_commands_name_the_same_target() -> None:
    assert Target(stack="local").command("plan") == "make plan STACK=local"
    assert Target(inventory="h.yaml").command("plan") == "fab -r provisioning plan --inventory h.yaml"
