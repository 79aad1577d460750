"""Pools of stack files for tests of clouds, and what a program registered for them."""

from collections.abc import Callable
from typing import Any

from infra.contract.outputs import HostRecord
from tests.doubles.provider.mocks import TableMocks

Inputs = dict[str, Any]


def served(name: str) -> dict[str, Any]:
    """Return the `serving` of a pool with a model of this name."""
    source = {"kind": "hub", "repo": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "7a" * 20}
    return {"model": {"name": name, "source": source}}


def behind(**pools: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a stack file with the machines of these pools behind a gateway's machine."""
    return {
        "gateway": {"machine": {}, "max_concurrency": 8},
        "pools": {name: {"machine": machine, "serving": served(name)} for name, machine in pools.items()},
    }


def named(mocks: TableMocks, kind: str) -> dict[str, Inputs]:
    """Return the resources of a kind, by name."""
    return {name: inputs for each, name, inputs in mocks.all() if each == kind}


def added_beside(plain: TableMocks, pooled: TableMocks, without_keys: Callable[[Inputs], Inputs]) -> set[str]:
    """Return the names that `pooled` adds; fail if something of `plain` is missing or changed.

    `without_keys` leaves out what has the host key: the program makes a new one, and the state keeps the first.
    """
    before = {(kind, name): inputs for kind, name, inputs in plain.all()}
    after = {(kind, name): inputs for kind, name, inputs in pooled.all()}
    assert before.keys() - after.keys() == set()
    keys = {key for key in before if key[0] == "pulumi:index:Stash"}  # a new key in each run
    changed = [key for key in before.keys() - keys if without_keys(before[key]) != without_keys(after[key])]
    assert changed == []
    return {name for _kind, name in after.keys() - before.keys()}


def records_with_a_spot_pool(hosts: list[dict[str, Any]]) -> dict[str, HostRecord]:
    """Return the records of a machine on demand, two of the spot pool `large`, and the gateway's; check their pools."""
    records = {each["name"]: HostRecord.model_validate(each) for each in hosts}
    assert {name: (each.pool, each.market, each.notice_folder is not None) for name, each in records.items()} == {
        "prod-1": ("main", "on_demand", False),
        "prod-large-1": ("large", "spot", True),
        "prod-large-2": ("large", "spot", True),
        "prod-gateway": ("main", "on_demand", False),
    }
    return records
