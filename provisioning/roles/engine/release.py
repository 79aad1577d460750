"""An engine's releases on a host: the one that answered stays until a newer one answers, or takes over again.

Does not install a release: an engine's role does, into a folder of its own beside a link that moves in one step. What
decides on the host is provisioning/programs/engine_release.py.
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
"""Asks the program that came with the release that answered: this checkout's may not come before it is allowed."""

CHECK = (
    '[ ! -e "$0" ] || said=$(python3 "$0" may "$@" 2>&1) || '
    '{ echo "planned: fail: $(echo "$said" | tail -n 1)"; exit 1; }'
)
"""Asks the same, and has a plan fail as provision would. Here and not in the program, which may be an older one."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The release of an engine that a role wishes for."""

    unit: str
    link: str
    """What the unit runs from: a link to the release's folder beside it."""
    version: str
    allow_downgrade: bool = False

    @property
    def helper(self) -> File:
        """The program that the others call."""
        return File(path=ENGINE_RELEASE, content=program("engine_release"), mode=0o755)

    @property
    def version_check(self) -> tuple[Command, ...]:
        """What refuses a release older than the one that answered; see `asked_first`."""
        if self.allow_downgrade:
            return ()
        words = (ENGINE_RELEASE, self.unit, self.version)
        return (Command(name=VERSION_CHECK, argv=("sh", "-c", ASK, *words), check=("sh", "-c", CHECK, *words)),)

    @property
    def undo(self) -> tuple[str, ...]:
        """For the unit: what returns to the release before, when there is one that answered."""
        return ("python3", ENGINE_RELEASE, "return", self.unit, self.link)

    @property
    def keep(self) -> Command:
        """What makes it the release to return to, once the unit has come up."""
        words = (self.unit, self.link, self.version)
        return Command(
            name="engine-release",
            argv=("python3", ENGINE_RELEASE, "keep", *words),
            check=("python3", ENGINE_RELEASE, "kept", *words),
            after=(f"unit:{self.unit}",),
        )


def asked_first(resources: Sequence[Resource]) -> list[Resource]:
    """Return a host's whole list with what refuses a downgrade at its start, and all else waiting for its consent.

    So a refused downgrade changes nothing, neither at the engine nor beside it. A list without is returned as it is.
    """
    checks = [each for each in resources if isinstance(each, Command) and each.name == VERSION_CHECK]
    allowed = tuple(each.id for each in checks)
    waiting = (replace(each, after=(*allowed, *each.after)) for each in resources if each not in checks)
    return [*checks, *waiting]
