"""What providers cost: the sums in the ledgers of the gateways' hosts, by day, provider and client. Changes nothing."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.console import show
from core.errors import UsageError
from core.runs import write_result
from infra.contract.outputs import HostRecord
from provisioning.cli.progress import error_line
from provisioning.hosts.inventory import choose, load_to_look
from provisioning.hosts.parallel import Failures, on_each
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.host.layout import overflow_ledger
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget
from services.overflow.money import as_usd
from serving.spec.gateway_overflow import OverflowProvider, OverflowSpec

Row = Mapping[str, Any]
"""A row of a ledger's totals; amounts in nano-USD."""

COLUMNS = ("day", "provider", "client", "requests", "failed", "tokens in", "tokens out", "USD", "of it reserved")
SUMMED = ("requests", "failed", "input_tokens", "output_tokens", "spent", "unsettled")


def spend(target: Target, *, names: Sequence[str], at_once: int, as_json: bool) -> int:
    """Print what providers cost on stdout; return the exit status."""
    outputs = load_to_look(target)
    topology = Topology(outputs)
    hosts = [host for host in choose(outputs, names) if topology.has(host, HostRole.GATEWAY)]
    if not hosts:
        raise UsageError("no gateway runs there", where=f"--host {', '.join(names)}", hint="name a host with a gateway")
    failures = Failures(hosts, lambda name, error: show(f"{name}  {error_line(error)}"))
    rows = [row for _, found in failures.sift(on_each(hosts, look, at_once=at_once)) for row in found]
    entries = [_entry(row) for row in rows]
    write_result(outputs.stack, "spend.json", {"stack": outputs.stack, "ok": not failures.errors, "rows": entries})
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        show("\n".join(table(rows, outputs.gateway.overflow, datetime.now(UTC).strftime("%Y-%m-%d"))))
    failures.raise_any(hint="the sums above lack these hosts")
    return 0


def look(host: HostRecord) -> list[Row]:
    """Return the rows of the ledger on `host`. Raises HostError if it cannot be read."""
    with connect(SshTarget.of(host)) as connection:
        report = ask_program(connection, SshTarget.of(host), "gateway/spend_report", overflow_ledger(host.data_dir))
    return [{"host": host.name, **row} for row in report["rows"]]


def table(rows: Sequence[Row], spec: OverflowSpec | None, today: str) -> list[str]:
    """Return the lines of the screen: sums by day, provider and client, then spending beside the caps."""
    if not rows:
        return ["nothing was sent to a provider", "", *_caps(rows, spec, today)]
    sums = sum_by(rows, ("day", "provider", "client"))
    cells = [COLUMNS, *((*key, *_cells(sums[key])) for key in sorted(sums))]
    widths = [max(len(line[place]) for line in cells) for place in range(len(COLUMNS))]
    lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
    return [*lines, "", *_caps(rows, spec, today)]


def sum_by(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, int]]:
    """Return the sums of all numbers, by the values of `keys`."""
    sums: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        entry = sums.setdefault(tuple(str(row[key]) for key in keys), dict.fromkeys(SUMMED, 0))
        for name in SUMMED:
            entry[name] += int(row[name])
    return sums


def _cells(sums: Mapping[str, int]) -> tuple[str, ...]:
    counts = tuple(f"{sums[name]:,}" for name in ("requests", "failed", "input_tokens", "output_tokens"))
    return (*counts, _usd(sums["spent"]), _usd(sums["unsettled"]))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the cells of a line: names to the left, numbers to the right."""
    names = COLUMNS.index("requests")
    pairs = zip(line, widths, strict=True)
    return [cell.ljust(width) if place < names else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]


def _caps(rows: Sequence[Row], spec: OverflowSpec | None, today: str) -> list[str]:
    """Return a line for each cap, as the stack file has them now."""
    if spec is None:
        return ["the stack file has no overflow now"]
    lines = []
    capped: list[tuple[str, OverflowSpec | OverflowProvider]] = [("all", spec)]
    for name, caps in (*capped, *((each.name, each) for each in spec.providers)):
        own = [row for row in rows if name in ("all", row["provider"])]
        day = sum(int(row["spent"]) for row in own if row["day"] == today)
        month = sum(int(row["spent"]) for row in own if str(row["day"]).startswith(today[:7]))
        lines.append(
            f"{name}: today {_usd(day)} of {caps.day_usd:g} USD, this month {_usd(month)} of {caps.month_usd:g} USD"
        )
    return [*lines, "days and months are those of UTC"]


def _usd(nano: int) -> str:
    """Return USD with six decimals, rounded up."""
    return as_usd(-(-nano // 1000) * 1000)[:-3]


def _entry(row: Row) -> dict[str, Any]:
    """Return a row for JSON, with amounts in USD as text: a float would round them."""
    amounts = {"usd": as_usd(int(row["spent"])), "reserved_usd": as_usd(int(row["unsettled"]))}
    return {key: value for key, value in row.items() if key not in ("spent", "unsettled")} | amounts
