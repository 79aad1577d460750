"""The program behind the `provision` task, with the benchmark's 20 resources in place of the roles' lists."""

from collections.abc import Mapping, Sequence

from benchmarks.project.converge import resources
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply import desired_state as program
from provisioning.apply.provision import provision
from provisioning.converge.resources import Directory, File, Packages, Resource, Sysctl, Unit, User
from provisioning.hosts.installed_names import Names

__all__ = ["provision"]


def benchmark_list() -> list[Resource]:
    """Return the 20 resources."""
    group = resources.USER
    name, value = resources.SYSCTL
    files = [
        File(path=path, content=content, group=resources.file_group(path), mode=resources.file_mode(path))
        for path, content in resources.FILES.items()
    ]
    directories = [Directory(path=path, group=group, mode=resources.DIRECTORY_MODE) for path in resources.DIRECTORIES]
    return [
        Packages(name="bench", present=resources.PACKAGES),
        User(name=resources.USER, home=resources.HOME),
        *directories,
        *files,
        Sysctl(name=name, value=value),
        *(Unit(name=unit) for unit in resources.UNITS),
    ]


def _desired_state(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    roles: Sequence[str],
    *,
    allow_downgrade: bool = False,
    keep: bool = True,
    installed: Mapping[str, Names] | None = None,
) -> program.DesiredState:
    """Replace the function that joins the lists of the roles."""
    del outputs, roles, allow_downgrade, keep, installed  # the benchmark has the same list for all hosts, and no engine
    return program.DesiredState(lists={host.name: benchmark_list() for host in hosts}, endpoint=None)


program.desired_state = _desired_state
