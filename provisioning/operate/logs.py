"""The journal of engine and gateway, from one host or several, on stdout."""

import heapq
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from core.console import next_command, say, show
from core.errors import UsageError
from core.reading.rules import one_of
from infra.contract.outputs import HostRecord
from provisioning.cli.progress import error_line
from provisioning.hosts.inventory import choose, load_to_look
from provisioning.hosts.parallel import Failures, on_each
from provisioning.hosts.target import Target
from provisioning.roles.host.layout import units_with_logs
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import stream
from provisioning.ssh.target import SshTarget


def logs(target: Target, *, names: Sequence[str], unit: str, lines: int, follow: bool) -> int:
    """Print the journal and return the exit status; the lines of several hosts by time.

    With `follow` lines are printed as they come, and Ctrl-C is the normal end.
    """
    outputs = load_to_look(target)
    hosts = choose(outputs, names)
    each_units = {host.name: units_with_logs(outputs.serving_of(host).engine) for host in hosts}
    units = [*dict.fromkeys(word for units in each_units.values() for word in units)]
    if unit and unit not in units:
        raise UsageError(f"{unit!r} is not known", where="--unit", hint=one_of(units, unit))
    printing = threading.Lock()

    def work(host: HostRecord) -> list[str]:
        units = each_units[host.name]
        argv = journal_command([units[unit]] if unit else list(units.values()), lines, follow=follow)
        start = f"{host.name}  " if len(hosts) > 1 else ""
        with connect(SshTarget.of(host)) as connection:
            found = whole_lines(stream(connection, SshTarget.of(host), argv))
            if len(hosts) > 1 and not follow:
                return list(found)
            for line in found:
                with printing:
                    show(start + line)
        return []

    failures = Failures(hosts, lambda name, error: say(f"{name}  {error_line(error)}"))
    try:
        journals = {host.name: found for host, found in failures.sift(on_each(hosts, work, at_once=len(hosts)))}
    except KeyboardInterrupt:
        if not follow:
            raise
    else:
        for name, line in by_time(journals):
            show(f"{name}  {line}")
    failures.raise_any(hint=f"see `{target.command('status')}`")
    next_command(target.command("status"))
    return 0


def journal_command(units: Sequence[str], lines: int, *, follow: bool) -> list[str]:
    """Return the command that prints the newest `lines` lines of `units`."""
    chosen = [part for unit in units for part in ("-u", unit)]
    return [
        "journalctl",
        "--no-pager",
        "-q",
        "-o",
        "short-iso-precise",
        "-n",
        str(lines),
        *(["-f"] if follow else []),
        *chosen,
    ]


def by_time(journals: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield the lines of several hosts, each with its host, by their times; the order of one host's lines stays."""

    def timed(name: str) -> Iterator[tuple[datetime, str, str]]:
        latest = datetime.min.replace(tzinfo=UTC)
        for line in journals[name]:
            latest = max(latest, _time_of(line) or latest)  # a message of several lines has its time in the first
            yield latest, name, line

    for _, name, line in heapq.merge(*map(timed, journals), key=lambda entry: entry[0]):
        yield name, line


def _time_of(line: str) -> datetime | None:
    """Return the time at the beginning of a journal line."""
    try:
        return datetime.fromisoformat(line.partition(" ")[0]).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the whole lines of a text that comes in pieces; the last line may lack its newline."""
    held = ""
    for piece in pieces:
        *lines, held = (held + piece).split("\n")
        yield from lines
    if held:
        yield held
