"""provision.json and plan.json: what each host's entry says."""

from types import SimpleNamespace
from typing import Any, cast

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.apply.run_report import run_report
from provisioning.converge.result import HostResult


def ended(name: str, *, ok: bool) -> HostResult:
    """Return a host's result without resources."""
    return HostResult(
        host=name, ok=ok, changed=(), unchanged=(), failed=(), skipped=(), seconds=1.0, round_trips=1, phases={}
    )


def report(results: dict[str, HostResult], errors: dict[str, Exception | None]) -> dict[str, Any]:
    """Return the report of a run over three hosts."""
    hosts = cast(list[HostRecord], [SimpleNamespace(name=name) for name in ("a", "b", "c")])
    return run_report("demo", ("base", "engine"), hosts, results, errors, seconds=2.00049)


def test_a_host_without_a_result_was_interrupted_or_failed() -> None:
    found = report({"a": ended("a", ok=True)}, {"b": HostError("is down", where="b")})
    assert [entry.get("error") for entry in found["hosts"]] == [None, "b: is down", "interrupted"]
    assert (found["stack"], found["ok"], found["roles"], found["seconds"]) == ("demo", False, ["base", "engine"], 2.0)


def test_a_run_is_ok_if_every_host_is() -> None:
    assert report({name: ended(name, ok=True) for name in "abc"}, {})["ok"] is True
    assert report({name: ended(name, ok=name != "b") for name in "abc"}, {})["ok"] is False
