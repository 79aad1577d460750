"""Names that are served but no longer listed: an error, unless `--retire` names them.

Queries the hosts; changes neither them nor the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import UsageError
from core.reading.rules import Problem, one_of
from core.reading.words import error_of
from provisioning.adapters.hosts import AdapterStack
from provisioning.adapters.report import AdapterReport
from serving.adapters.manifest import shown


@dataclass(frozen=True)
class Retired:
    """A name that will no longer be served."""

    name: str
    version: str
    """Its version on a host or in the record; empty if neither has it."""
    hosts: tuple[str, ...]
    """The hosts that serve it."""

    @property
    def words(self) -> str:
        """A line for a plan."""
        if not self.version:
            return f"{self.name} is not served any more"
        return f"{self.name} stops being served: {self.version}{_on(self.hosts)}"


def retirement(stack: AdapterStack, names: Sequence[str]) -> list[Retired]:
    """Return the effect of retiring `names`.

    Raises UsageError for a name that is listed or that never existed. Raises ConfigError with a line for each other
    name that hosts or record have but the manifest lacks: its clients would lose it.
    """
    reports = stack.on_all(stack.report)
    found = {name: _retired(stack, name, reports) for name in _known(stack, reports)}
    for name in names:
        if name in stack.releases.promoted:
            hint = "remove its versions from the manifest first"
            raise UsageError(f"{name} is still listed", where="--retire", hint=hint)
        if name not in found:
            unlisted = [each for each in found if each not in stack.releases.promoted]
            raise UsageError(f"no adapter is called {name}", where="--retire", hint=one_of(unlisted, name))
    lost = [each for name, each in found.items() if name not in (*stack.releases.promoted, *names) and each.version]
    if lost:
        raise error_of([_refusal(stack, each) for each in lost], shown(stack.releases.path))
    return [found[name] for name in dict.fromkeys(names)]


def _known(stack: AdapterStack, reports: Mapping[str, AdapterReport]) -> list[str]:
    """Return the names that hosts serve or the record has."""
    served = [name for report in reports.values() for name in report.names]
    return list(dict.fromkeys((*served, *(move.adapter for move in stack.releases.moves))))


def _retired(stack: AdapterStack, name: str, reports: Mapping[str, AdapterReport]) -> Retired:
    meant = {host: report.names[name] for host, report in reports.items() if name in report.names}
    version = next(iter(meant.values()), stack.releases.recorded.get(name, ""))
    return Retired(name, version, tuple(meant))


def _refusal(stack: AdapterStack, lost: Retired) -> Problem:
    command = stack.target.command("adapters", "DO=apply", f'ARGS="--retire {lost.name}"')
    where = _on(lost.hosts) or f" in {stack.releases.lock.name}"
    what = f"{lost.name} is {lost.version}{where} and no longer listed: it would stop being served"
    return Problem("", what, f"list it again, or run `{command}`")


def _on(hosts: Sequence[str]) -> str:
    return f" on {', '.join(hosts)}" if hosts else ""
