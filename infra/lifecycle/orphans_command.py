"""Everything of ours in a rented cloud, over all regions, against the stacks that this checkout knows.

    python -m infra.lifecycle.orphans_command --cloud aws             a table on stdout
    python -m infra.lifecycle.orphans_command --cloud aws --delete    removes what belongs to no known stack, after
    asking

A colleague's stacks are not known here: look at the names before you say yes.
"""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from catalog.clouds import RENTED
from core.arguments import Parser
from core.console import say, show, step
from core.errors import DeployError, UsageError, run_cli
from core.paths import placement_files
from core.strict_json import parse_object
from infra.clouds.cloud import Cloud
from infra.clouds.registry import ready_cloud
from infra.clouds.resources import CloudResource, Unasked

AT_ONCE = 8
SHOWN_KINDS = 3
YES = "yes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep, tell, and remove when that is asked for; the status is 1 when a place could not be asked."""
    parser = Parser(prog="python -m infra.lifecycle.orphans_command", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cloud", required=True, choices=RENTED, help="which cloud to look at")
    parser.add_argument("--delete", action="store_true", help="remove what belongs to no known stack, after asking")
    options = parser.parse_args(arguments)
    say(f"orphans: asks all regions of {options.cloud} for what carries our tags")
    cloud = ready_cloud(options.cloud)
    with step("ask the regions"):
        resources, unseen = _found(cloud)
    known = known_ids()
    for resource in resources:
        show(f"{_standing(resource, known)}\t{resource}")
    stray = [resource for resource in resources if resource.placement_id not in known]
    say(f"  {len(resources)} thing(s), {len(stray)} of no stack that this checkout knows")
    for line in unseen:
        say(f"  not seen: {line}")
    if options.delete and stray:
        _confirm(stray)
        with step(f"remove {len(stray)} thing(s)"):
            cloud.remove_resources(stray)
    elif stray:
        say(f"  unless they are a colleague's: make orphans CLOUD={options.cloud} ARGS=--delete")
    return 1 if unseen else 0


def known_ids() -> set[str]:
    """Return the ids of the leases that this checkout has noted."""
    found = set()
    for path in placement_files():
        try:
            found.add(str(parse_object(path.read_bytes())["id"]))
        except (OSError, ValueError, KeyError):
            say(f"  {path} cannot be read; its stack counts as not known")
    return found


def _found(cloud: Cloud) -> tuple[list[CloudResource], list[str]]:
    """Return what all places have, and which could not be asked; raises UsageError when the login is not taken."""
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
            except DeployError as error:  # one that a policy denies says nothing of the others
                unseen.append(f"{place}: {error}")
    return found, unseen


def _shown(unasked: Sequence[Unasked], place: str) -> list[str]:
    """Return the kinds of a place that could not be asked for, a line each; one line when they are many."""
    if len(unasked) <= SHOWN_KINDS:
        return [str(each) for each in unasked]
    return [f"{', '.join(each.kind for each in unasked)} in {place}: {unasked[0].error}"]


def _standing(resource: CloudResource, known: set[str]) -> str:
    if resource.placement_id in known:
        return "kept" if resource.keep else "known"
    return "stray"


def _confirm(stray: Iterable[CloudResource]) -> None:
    """Ask on the terminal. Raises UsageError unless the answer is yes."""
    stacks = sorted({f"{resource.stack} ({resource.placement_id})" for resource in stray})
    say(f"this removes everything of {', '.join(stacks)}, kept disks and buckets too; type {YES} to go on")
    if not sys.stdin.readline().strip() == YES:
        raise UsageError("not confirmed", where="orphans --delete", hint=f"type {YES} when asked")


if __name__ == "__main__":
    sys.exit(run_cli(main))
