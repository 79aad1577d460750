"""A kernel setting, now and after a reboot."""

from __future__ import annotations

from ..events import Failure
from ..paths import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read the kernel's value and the file in /etc/sysctl.d."""
    return lambda: [{"now": _read(_kernel_path(w.name)), "kept": _read(_file_path(w.name))} for w in resources]


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that set the value now and after a reboot. Blanks are ignored: the kernel writes tabs."""
    changes = []
    if fact["kept"] is None or fact["kept"].split() != _line(resource).split():
        changes.append(("keep", f"write {_file_path(resource.name)}"))
    if fact["now"] is None or fact["now"].split() != resource.value.split():
        changes.append(("set", f"{(fact['now'] or 'unknown').strip()} -> {resource.value}"))
    return changes


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Set the value first: a value that the kernel refuses is not written to the file."""
    verbs = {verb for verb, _ in changes}
    if "set" in verbs:
        try:
            with open(_kernel_path(resource.name), "w", encoding="utf-8") as stream:
                stream.write(resource.value)
        except OSError as error:
            raise Failure(f"the kernel refuses {resource.name} = {resource.value}: {error.strerror}") from error
    if "keep" in verbs:
        write_file(_file_path(resource.name), _line(resource).encode())


def _line(resource: Any) -> str:
    return f"{resource.name} = {resource.value}\n"


def _kernel_path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _file_path(name: str) -> str:
    return f"/etc/sysctl.d/60-llm-deploy-{name}.conf"


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return None
