"""Our resources in all regions of a cloud, compared with the stacks that this checkout knows.

    python -m infra.lifecycle.orphans.command --cloud aws             a table on stdout
    python -m infra.lifecycle.orphans.command --cloud aws --delete    removes orphans, after asking

This checkout does not know the stacks of colleagues: read the names before you confirm.
"""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from catalog.clouds import RENTED
from core.arguments import Parser
from core.console import say, show, step
from core.errors import DeployError, UsageError, run_cli
from core.paths import placement_files
from core.reading.strict_json import parse_object
from infra.clouds.cloud import Cloud
from infra.clouds.registry import ready_cloud
from infra.clouds.resources.kinds import CloudResource, Unasked

AT_ONCE = 8
SHOWN_KINDS = 3
YES = "yes"


def main(arguments: Sequence[str] | None = None) -> int:
    """List our resources, and remove orphans with --delete. Return 1 if a place could not be queried."""
    parser = Parser(prog="make orphans", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cloud", required=True, choices=RENTED, help="which cloud to look at")
    parser.add_argument("--delete", action="store_true", help="remove the orphans, after asking")
    options = parser.parse_args(arguments)
    say(f"orphans: lists our resources in all regions of {options.cloud}")
    cloud = ready_cloud(options.cloud)
    with step("query the regions"):
        resources, unseen = _found(cloud)
    known = known_ids()
    for resource in resources:
        show(f"{_belongs(resource, known)}\t{resource}")
    orphans = [resource for resource in resources if resource.placement_id not in known]
    say(f"  {len(resources)} resource(s), {len(orphans)} of no stack that this checkout knows")
    for line in unseen:
        say(f"  could not be queried: {line}")
    if options.delete and orphans:
        _confirm(orphans)
        with step(f"remove {len(orphans)} resource(s)"):
            cloud.remove_resources(orphans)
    elif orphans:
        say(f"  to remove them, unless they are a colleague's: make orphans CLOUD={options.cloud} ARGS=--delete")
    return 1 if unseen else 0


def known_ids() -> set[str]:
    """Return the ids of the stacks whose placement this checkout has noted."""
    found = set()
    for path in placement_files():
        try:
            found.add(str(parse_object(path.read_bytes())["id"]))
        except (OSError, ValueError, KeyError):
            say(f"  {path} cannot be read; its stack counts as unknown")
    return found


def _found(cloud: Cloud) -> tuple[list[CloudResource], list[str]]:
    """Return our resources in all places, and what could not be queried. Raises UsageError for a rejected login."""
    places = cloud.places()
    found, unseen = list[CloudResource](), list[str]()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(cloud.find_in, place) for place in places]
        for place, each in zip(places, asked, strict=True):
            try:
                answer = each.result()
                found += answer
                unseen += _shown(answer.unasked, place)
            except UsageError:
                raise
            except DeployError as error:  # a policy may deny one place only
                unseen.append(f"{place}: {error}")
    return found, unseen


def _shown(unasked: Sequence[Unasked], place: str) -> list[str]:
    """Return the kinds that could not be queried in a place, a line each; one line if there are many."""
    if len(unasked) <= SHOWN_KINDS:
        return [str(each) for each in unasked]
    return [f"{', '.join(each.kind for each in unasked)} in {place}: {unasked[0].error}"]


def _belongs(resource: CloudResource, known: set[str]) -> str:
    if resource.placement_id in known:
        return "kept" if resource.keep else "known"
    return "orphan"


def _confirm(orphans: Iterable[CloudResource]) -> None:
    """Ask on the terminal. Raises UsageError unless the answer is yes."""
    stacks = sorted({f"{resource.stack} ({resource.placement_id})" for resource in orphans})
    say(f"this removes everything of {', '.join(stacks)}, including kept disks and buckets; type {YES} to continue")
    if not sys.stdin.readline().strip() == YES:
        raise UsageError("not confirmed", where="orphans --delete", hint=f"type {YES} when asked")


if __name__ == "__main__":
    sys.exit(run_cli(main))
