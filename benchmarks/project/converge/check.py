"""A check of the host's state over plain ssh with the system's own programs, independent of the tools."""

import hashlib
import subprocess
from collections.abc import Sequence

from benchmarks.project.converge import resources
from core.errors import CheckError


def expected_state() -> str:
    """Return what the commands of `_look` print on a host in the desired state."""
    lines = [f"{name} installed" for name in sorted(resources.PACKAGES)]
    lines.append(f"{resources.USER}:{resources.HOME}:/usr/sbin/nologin")
    lines += [f"{path} {resources.DIRECTORY_MODE:o} root {resources.USER}" for path in resources.DIRECTORIES]
    lines += [f"{path} {resources.file_mode(path):o} root {resources.file_group(path)}" for path in resources.FILES]
    lines += [f"{hashlib.sha256(content.encode()).hexdigest()}  {path}" for path, content in resources.FILES.items()]
    lines += ["active", "enabled"] * len(resources.UNITS)
    lines.append(resources.SYSCTL[1])
    return "\n".join(lines) + "\n"


def check(ssh: Sequence[str], tool: str) -> None:
    """Raise CheckError if `tool` did not bring the host to the desired state. `ssh` is a command line that logs in."""
    seen = subprocess.run([*ssh, f"sudo sh -c '{_look()}'"], capture_output=True, text=True, check=False, timeout=60)
    if seen.stdout != expected_state():
        differing = set(expected_state().splitlines()) ^ set(seen.stdout.splitlines())
        raise CheckError(
            f"{tool} did not bring the host to the desired state", detail="\n".join(sorted(differing)) + seen.stderr
        )


def _look() -> str:
    packages = " ".join(sorted(resources.PACKAGES))
    folders, files = " ".join(resources.DIRECTORIES), " ".join(resources.FILES)
    units = "; ".join(f"systemctl is-active {unit}; systemctl is-enabled {unit}" for unit in resources.UNITS)
    return (
        f'dpkg-query -W -f "\\${{Package}} \\${{db:Status-Status}}\\n" {packages};'
        f'getent passwd {resources.USER} | cut -d: -f1,6,7; stat -c "%n %a %U %G" {folders} {files};'
        f"sha256sum {files}; {units}; sysctl -n {resources.SYSCTL[0]}"
    )
