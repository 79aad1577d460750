"""The result of a run over hosts as JSON: provision.json and plan.json. Pure; writes no file."""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.contract.outputs import HostRecord
from provisioning.converge.result import HostResult


def run_report(
    stack: str,
    roles: Sequence[str],
    hosts: Sequence[HostRecord],
    results: Mapping[str, HostResult],
    errors: Mapping[str, Exception | None],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Return the result of a run. A host without a result or an error was interrupted."""
    entries = [_host(host.name, results, errors) for host in hosts]
    return {
        "stack": stack,
        "ok": all(entry["ok"] for entry in entries),
        "roles": list(roles),
        "seconds": round(seconds, 3),
        "hosts": entries,
    }


def _host(name: str, results: Mapping[str, HostResult], errors: Mapping[str, Exception | None]) -> dict[str, Any]:
    if name in results:
        return results[name].as_json()
    error = errors.get(name)
    return {"host": name, "ok": False, "error": str(error) if error else "interrupted"}
