"""An engine's releases on a host. The one that answered stays until a newer one answers; if that fails, it returns.

Does not install a release. An engine's role does that: into a new folder, beside a link that is replaced in one step.
provisioning/programs/engine/engine_release.py decides on the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from provisioning.converge.resources import Command, File, Resource
from provisioning.programs import program
from provisioning.roles.host.layout import LIB_DIR

ENGINE_RELEASE = f"{LIB_DIR}/engine-release"

VERSION_CHECK = "engine-version"
"""Name of the command that refuses a downgrade."""

ASK = '[ ! -e "$0" ] || exec python3 "$0" may "$@"'
"""Calls the program of the release that answered: this checkout's program is installed only after consent."""

CHECK = (
    '[ ! -e "$0" ] || said=$(python3 "$0" may "$@" 2>&1) || '
    '{ echo "planned: fail: $(echo "$said" | tail -n 1)"; exit 1; }'
)
"""Asks the same, and makes a plan fail as provision would. This is not in the program, which may be older here."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The release of an engine that a role asks for."""

    unit: str
    link: str
    """The link that the unit runs from; it points to the release's folder beside it."""
    version: str
    allow_downgrade: bool = False

    @property
    def helper(self) -> File:
        """The program that the commands below call."""
        return File(path=ENGINE_RELEASE, content=program("engine/engine_release"), mode=0o755)

    @property
    def version_check(self) -> tuple[Command, ...]:
        """The command that refuses a release older than the one that answered; see `asked_first`."""
        if self.allow_downgrade:
            return ()
        words = (ENGINE_RELEASE, self.unit, self.version)
        return (Command(name=VERSION_CHECK, argv=("sh", "-c", ASK, *words), check=("sh", "-c", CHECK, *words)),)

    @property
    def undo(self) -> tuple[str, ...]:
        """For the unit: the command that returns to the previous release, if one has answered."""
        return ("python3", ENGINE_RELEASE, "return", self.unit, self.link)

    @property
    def keep(self) -> Command:
        """The command that records this release as the one to return to, once the unit has started."""
        words = (self.unit, self.link, self.version)
        return Command(
            name="engine-release",
            argv=("python3", ENGINE_RELEASE, "keep", *words),
            check=("python3", ENGINE_RELEASE, "kept", *words),
            after=(f"unit:{self.unit}",),
        )


def asked_first(resources: Sequence[Resource]) -> list[Resource]:
    """Return a host's list with the downgrade check first; all other resources wait for it.

    So a refused downgrade changes nothing on the host. A list without an engine release is returned unchanged.
    """
    checks = [each for each in resources if isinstance(each, Command) and each.name == VERSION_CHECK]
    allowed = tuple(each.id for each in checks)
    waiting = (replace(each, after=(*allowed, *each.after)) for each in resources if each not in checks)
    return [*checks, *waiting]
