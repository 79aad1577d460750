"""What tasks of fab have in common: options that may be repeated, roles in their order, an exit status."""

from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.parser import Parser

from core.errors import UsageError
from provisioning.cli.task import Names, chosen_roles, fab_task


@fab_task({"host": "A host.", "count": "How many."}, name="look")
def look(_: Any, *, host: Names = (), count: str = "1") -> int:
    """Look at hosts."""
    if count == "none":
        raise UsageError("there is no host", where="--count")
    return len(host)


@pytest.mark.parametrize(
    ("asked", "status"), [({"host": ["a", "b", "c"]}, 3), ({"count": "none"}, 2)], ids=["its own", "an error's"]
)
def test_fab_ends_with_the_tasks_status(asked: dict[str, Any], status: int) -> None:
    with pytest.raises(Exit) as ended:
        look(Context(), **asked)
    assert ended.value.code == status


def test_task_that_returns_0_does_not_exit() -> None:
    look(Context())


def test_options_with_an_empty_default_may_be_repeated_and_none_has_a_short_flag() -> None:
    known = Collection(look).to_contexts()
    parsed = Parser(contexts=known).parse_argv(["look", "--host", "gpu1", "--count", "2", "--host=gpu2"])[0]
    assert parsed.as_kwargs == {"host": ["gpu1", "gpu2"], "count": "2"}
    assert sorted(known[0].flags) == ["--count", "--host"]


def test_abbreviated_option_is_refused() -> None:
    with pytest.raises(ParseError, match="--ho"):
        Parser(contexts=Collection(look).to_contexts()).parse_argv(["look", "--ho", "gpu1"])


@pytest.mark.parametrize(
    ("text", "roles"), [("gateway,base", ["base", "gateway"]), ("engine", ["engine"]), ("base,base", ["base"])]
)
def test_roles_come_in_their_order(text: str, roles: list[str]) -> None:
    assert chosen_roles(text) == roles


def test_unknown_role_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="--roles: there is no role 'gatway'; did you mean gateway"):
        chosen_roles("base,gatway")
