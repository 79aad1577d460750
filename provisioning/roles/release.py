"""An engine's releases on a host: the one that answered stays until a newer one answers, or takes over again.

Does not install a release: an engine's role does, into a folder of its own beside a link that moves in one step. What
decides on the host is provisioning/programs/engine_release.py.
"""

from dataclasses import dataclass

from provisioning.converge.resources import Command, File
from provisioning.programs import program
from provisioning.roles.layout import LIB_DIR

ENGINE_RELEASE = f"{LIB_DIR}/engine-release"

GUARD = "engine-version"
"""Name of the command that refuses a downgrade."""


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
    def guard(self) -> tuple[Command, ...]:
        """What refuses a release older than the one that answered; nothing else may change before it agreed."""
        if self.allow_downgrade:
            return ()
        ask = ("python3", ENGINE_RELEASE, "may", self.unit, self.version)
        return (Command(name=GUARD, argv=ask, check=ask, after=(self.helper.id,)),)

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
