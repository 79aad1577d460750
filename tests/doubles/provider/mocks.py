"""The double's table for unit tests without an engine: `run_program(program, TableMocks(KINDS), stack=…)`.

Checks names and types by the SDK as the provider does, and makes up every output that is not an input.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pulumi

from tests.doubles.provider.kind import Kind
from tests.doubles.provider.naming import named
from tests.doubles.provider.schema import resource_schema
from tests.doubles.provider.values import Properties, plain

NOT_OURS = ("pulumi:", "llm-deploy:")


class TableMocks(pulumi.runtime.Mocks):
    """The resources that a program registered, with made-up outputs."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._kinds = {kind.token: kind for kind in kinds}
        self._registered: list[tuple[str, str, Properties]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Check a resource; raises AssertionError for what the plugin would refuse."""
        given: Properties = plain(args.inputs)
        self._registered.append((args.typ, args.name, given))
        if args.typ == "pulumi:index:Stash":
            return f"{args.name}-id", {**given, "output": given["input"]}
        if args.typ.startswith(NOT_OURS):
            return f"{args.name}-id", given
        kind = self._kinds[args.typ]
        inputs = named(kind.rules, given, args.name)
        failures = [(each.path, each.reason) for each in resource_schema(args.typ).check(inputs)] + kind.check(inputs)
        assert not failures, f"{args.typ} {args.name}: {failures}"
        made_up = {name: f"{args.name}-{name}" for name in resource_schema(args.typ).outputs - inputs.keys()}
        return f"{args.name}-id", {**made_up, "ipv6CidrBlock": "2001:db8:83::/56", **inputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """Refuse: the program sends no query to the cloud, because the placement has everything."""
        raise AssertionError(f"the program calls {args.token}")

    def all(self) -> list[tuple[str, str, Properties]]:
        """Return type, name and inputs of all that was registered."""
        return list(self._registered)

    def of(self, kind: str) -> list[Properties]:
        """Return the inputs of all resources of a type."""
        return [inputs for each, _name, inputs in self._registered if each == kind]

    def names(self, kind: str) -> list[str]:
        """Return the names of all resources of a type, sorted."""
        return sorted(name for each, name, _inputs in self._registered if each == kind)


def run_program(program: Callable[[], None], mocks: TableMocks, *, stack: str) -> None:
    """Run a Pulumi program against `mocks`.

    The SDK uses the thread's event loop. `asyncio.run` in an earlier test leaves the thread without one.
    """
    try:
        asyncio.get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(mocks, project="llm-deploy", stack=stack, preview=False)
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
