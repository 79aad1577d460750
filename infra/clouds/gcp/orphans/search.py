"""Finding and removing the resources of stacks on GCP, service by service. Never reads the Pulumi state.

Searches one project at a time and all its regions at once, as the API lists them. The projects are those in the stack
files and placements of this checkout.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from core.console import say
from core.errors import ConfigError, DeployError
from core.paths import placement_files
from core.reading.strict_json import parse_object
from infra.clouds.gcp.orphans.resource_kinds import KINDS
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.clouds.resources.queries import ask_again, ask_for
from infra.clouds.resources.removal import remove_until_gone
from infra.config import load_stack
from infra.config.reader import known_stacks
from infra.config.rules.location import EXAMPLE_PROJECT


def find_resources(project: str, placement_id: str | None = None) -> Found:
    """Return the resources of one placement, or of all, in the order in which they can be removed."""
    return ask_for(KINDS, project, placement_id)


def find_in(project: str) -> Found:
    """Return the resources of all stacks in one of `places`, in the order in which they can be removed."""
    return find_resources(project)


def remove_resources(
    resources: Iterable[CloudResource],
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove resources and wait until they no longer exist. Raises DeployError with GCP's text if they remain."""

    def look(left: list[CloudResource]) -> Found:
        return ask_again(KINDS, left, lambda resource: str(resource.detail["project"]))

    remove_until_gone(resources, KINDS, look, deadline_s=deadline_s, clock=clock, sleep=sleep)


def places() -> list[str]:
    """Return where to look: the projects that this checkout knows, without the example in the provided stack files.

    An invalid stack file is reported and does not hide the others. Raises ConfigError if no project is known.
    """
    found = set(_projects_of_files()) - {EXAMPLE_PROJECT}
    for path in placement_files():
        try:
            project = parse_object(path.read_bytes()).get("project")
        except (OSError, ValueError):
            continue  # the sweep itself reports it
        found |= {str(project)} if project else set()
    if not found:
        raise ConfigError(
            "no stack file with `cloud: gcp` has your project",
            where="stacks/",
            hint="write it as `project` into one, e.g. stacks/Pulumi.gcp-gpu.yaml",
        )
    return sorted(found)


def _projects_of_files() -> Iterator[str]:
    """Yield the projects that the stack files of this checkout name."""
    for stack in known_stacks():
        try:
            config = load_stack(stack)
        except DeployError as error:
            say(f"  a project that only stack {stack} names is not searched, because its file is invalid: {error}")
            continue
        if config.cloud == "gcp":
            yield str(config.project)
