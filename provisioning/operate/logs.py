"""The journal of engine and gateway, from one host or several, on stdout."""

import threading
from collections.abc import Iterable, Iterator, Sequence

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
    """Print the journal and return the exit status. With `follow`, Ctrl-C is the normal end."""
    outputs = load_to_look(target)
    hosts = choose(outputs, names)
    each_units = {host.name: units_with_logs(outputs.serving_of(host).engine) for host in hosts}
    units = [*dict.fromkeys(word for units in each_units.values() for word in units)]
    if unit and unit not in units:
        raise UsageError(f"{unit!r} is not known", where="--unit", hint=one_of(units, unit))
    printing = threading.Lock()

    def work(host: HostRecord) -> None:
        units = each_units[host.name]
        argv = journal_command([units[unit]] if unit else list(units.values()), lines, follow=follow)
        start = f"{host.name}  " if len(hosts) > 1 else ""
        with connect(SshTarget.of(host)) as connection:
            for line in whole_lines(stream(connection, SshTarget.of(host), argv)):
                with printing:
                    show(start + line)

    failures = Failures(hosts, lambda name, error: say(f"{name}  {error_line(error)}"))
    try:
        for _ in failures.sift(on_each(hosts, work, at_once=len(hosts))):
            pass  # `work` has printed its lines
    except KeyboardInterrupt:
        if not follow:
            raise
    failures.raise_any(hint=f"see `{target.command('status')}`")
    next_command(target.command("status"))
    return 0


def journal_command(units: Sequence[str], lines: int, *, follow: bool) -> list[str]:
    """Return the command that prints the newest `lines` lines of `units`."""
    chosen = [part for unit in units for part in ("-u", unit)]
    return ["journalctl", "--no-pager", "-q", "-o", "short-iso", "-n", str(lines), *(["-f"] if follow else []), *chosen]


def whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the whole lines of a text that comes in pieces; the last line may lack its newline."""
    held = ""
    for piece in pieces:
        *lines, held = (held + piece).split("\n")
        yield from lines
    if held:
        yield held
