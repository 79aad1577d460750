"""The program behind the `provision` task, with the benchmark's 20 resources in place of the roles' lists."""

from collections.abc import Sequence

from benchmarks.project.converge import wishes
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply import desired_state as program
from provisioning.apply.provision import provision
from provisioning.converge.resources import Directory, File, Packages, Resource, Sysctl, Unit, User

__all__ = ["provision"]


def benchmark_list() -> list[Resource]:
    """Return the 20 resources."""
    group = wishes.USER
    name, value = wishes.SYSCTL
    files = [
        File(path=path, content=content, group=wishes.file_group(path), mode=wishes.file_mode(path))
        for path, content in wishes.FILES.items()
    ]
    directories = [Directory(path=path, group=group, mode=wishes.DIRECTORY_MODE) for path in wishes.DIRECTORIES]
    return [
        Packages(name="bench", present=wishes.PACKAGES),
        User(name=wishes.USER, home=wishes.HOME),
        *directories,
        *files,
        Sysctl(name=name, value=value),
        *(Unit(name=unit) for unit in wishes.UNITS),
    ]


def _wishes_for(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    roles: Sequence[str],
    *,
    allow_downgrade: bool = False,
    keep: bool = True,
) -> program.Wishes:
    """Stand in for the function that joins the lists of the roles."""
    del outputs, roles, allow_downgrade, keep  # the benchmark has one list for all, and no engine
    return program.Wishes(lists={host.name: benchmark_list() for host in hosts}, endpoint=None)


program.wishes_for = _wishes_for
