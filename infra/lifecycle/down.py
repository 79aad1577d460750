"""Destroys a stack, then queries the host or the cloud until nothing of it remains.

Removes first what costs money. A denied API call or a failed Pulumi engine ends the command only after that.

Reports `ok` only after a new query. Removes the stack's state and files last, and only when nothing remains, so that a
failed teardown can be run again. Hosts that we did not create keep what is on them, and this checkout keeps their keys.
Ends within DOWN_S: a Pulumi engine that takes too long is stopped, and the rest is removed without it.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog.clouds import RENTED
from core.console import say, step
from core.errors import ConfigError, DeployError, UsageError
from core.paths import outputs_file, stack_state_dir, state_dir
from core.reading.strict_yaml import read_yaml
from core.runs import write_result
from core.waiting.deadline import Deadline
from core.waiting.timeouts import answer_within
from infra.automation.backend_lock import LockedError
from infra.automation.events import Report
from infra.automation.sdk import ensure_sdk
from infra.automation.stack import Stack, hold
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.queries import NOT_KNOWN
from infra.config import load_stack
from infra.config.reader import DEPLOYMENT_KEY, stack_file
from infra.contract.stack_placement import KnownPlacement, Placement, read_placement
from infra.lifecycle.orphans import remaining
from infra.lifecycle.orphans.recovery import recover
from infra.lifecycle.placement.login import refuse_other_login
from infra.lifecycle.placement.previous import known_placement
from serving.endpoint import endpoint_file

DOWN_S = 300.0
"""How long `down` may take. It reports what remains then, and can be run again."""

CLOUD_S = 90.0
"""Part of DOWN_S that is reserved for removing resources without the Pulumi engine."""

RECOVER_S = 60.0
"""Part of DOWN_S for removing the orphans of an interrupted command, before the Pulumi engine starts."""

LAST_LOOK_S = 15.0
"""Part of DOWN_S that is reserved for the last query, and how long that query may take."""

APPEAR_S = 20.0
"""How long a cloud may take to list what a Pulumi engine requested just before it was killed. On AWS this has taken
about a second (github.com/skypilot-org/skypilot/issues/4431)."""


@dataclass(frozen=True)
class Teardown:
    """The result of a teardown, written as teardown.json."""

    cloud: str
    ok: bool
    destroyed: list[str]
    """Names of the resources that were removed."""

    left: list[str]
    """What the host or the cloud still has."""

    kept: list[str] = field(default_factory=list)
    """What the stack's file says to keep, and what it costs."""

    asked: bool = True
    """Whether the cloud was queried. Without a placement (the stack was never created here) it cannot be."""

    hosts_stay: bool = False
    """The hosts keep serving, because we did not create them. Their keys and certificates are kept."""


def tear_down(stack: str, *, sleep: Callable[[float], None] = time.sleep) -> Teardown:
    """Remove `stack` and confirm that nothing remains. Raises DeployError if something does."""
    cloud = cloud_name_of(stack)
    if read_placement(stack) is not None or outputs_file(stack).exists():
        ensure_sdk(cloud)  # before the deadline starts: a first installation may take minutes
    end = Deadline.after(DOWN_S)
    destroyed: list[str] = []
    with hold(stack, cloud, stop_earlier=True) as held:
        keep = _keeps(stack)
        appears = Deadline.after(APPEAR_S if cloud in RENTED and _has_creations_in_flight(held) else 0.0)
        placement = _placement(cloud, stack, held)  # before `destroy` removes it from the state
        try:
            _refuse_other_login(cloud, placement)
            _recover(cloud, stack, held, end)
            report, engine_error = _destroy(held, stack, keep=keep, unprotect=cloud in RENTED and not keep, end=end)
            if engine_error is not None and cloud in RENTED and placement is None:
                raise engine_error  # without a placement, no cloud can be queried
            destroyed = report.done.get("delete", []) if report else []
            left = _left(cloud, stack, end)
            if placement is not None and (wait_s := appears.left_s()):
                with step(f"wait {wait_s:.0f} s for resources that the interrupted command may have requested"):
                    sleep(wait_s)
                left = _left(cloud, stack, end)
            kept = _asked(remaining.kept, cloud, stack, end)
        except DeployError as error:
            found = _found(cloud, stack, end)
            _write(stack, Teardown(cloud, ok=False, destroyed=destroyed, left=found))
            error.detail = "\n".join(filter(None, (error.detail, *(f"  still there: {line}" for line in found))))
            raise
        hosts_stay = remaining.hosts_stay(cloud)
        asked = cloud not in RENTED or placement is not None
        result = _write(stack, Teardown(cloud, not left, destroyed, left, kept, asked, hosts_stay))
        if left:
            raise _not_gone(stack, left)
        if kept:  # the next `up` uses what was kept, after a full preflight
            outputs_file(stack).unlink(missing_ok=True)
            endpoint_file(stack).unlink(missing_ok=True)  # its address may belong to somebody else tomorrow
            return result
        _forget(held, made=report is not None, after_failure=engine_error is not None)
        # Before the lock is released: otherwise this could remove files that the next command has just created.
        if hosts_stay:
            outputs_file(stack).unlink(missing_ok=True)
        else:
            shutil.rmtree(stack_state_dir(stack))
    return result


def _not_gone(stack: str, left: list[str]) -> DeployError:
    """Return the error that names what remains, or says that only some kinds could not be queried."""
    lines = "\n".join(f"  {line}" for line in left)
    what, hint = "some resources remain", "run it again"
    if all(line.startswith(NOT_KNOWN) for line in left):
        what = "everything that could be queried is gone, but some kinds could not be queried"
        hint = "get the permissions that are named below and run it again; the stack is kept until then"
    return DeployError(what, where=f"down of stack {stack}", hint=hint, detail=lines)


def _placement(cloud: str, stack: str, held: Stack) -> KnownPlacement | None:
    """Return the placement of a stack. If its state cannot be read, the one that this checkout noted."""
    try:
        return known_placement(cloud, stack, held)
    except (UsageError, LockedError):
        raise
    except DeployError as error:
        say(f"  ! {error}; continuing with this checkout's note")
        return read_placement(stack)


def _has_creations_in_flight(held: Stack) -> bool:
    """Return whether the cloud may still create something. True if the state of an interrupted stack is unreadable."""
    try:
        return held.has_creations_in_flight()
    except (UsageError, LockedError):
        raise
    except DeployError:
        return held.interrupted


def _refuse_other_login(cloud: str, placement: Placement | None) -> None:
    """Raise UsageError for a login to another account. Continue if the login may not look up its account.

    The Pulumi provider rejects another account, too, and `down` removes no notes before it has queried the cloud.
    """
    try:
        refuse_other_login(cloud, placement)
    except DeniedError as error:
        say(f"  ! {error}; continuing")


def _recover(cloud: str, stack: str, held: Stack, end: Deadline) -> None:
    """Remove the orphans of an interrupted command. A failed query or removal does not stop `down`."""
    try:
        recover(cloud, stack, held, min(RECOVER_S, end.left_s(reserve_s=DOWN_S / 2)))
    except (UsageError, LockedError):
        raise
    except DeployError as error:
        say("\n".join(filter(None, (f"  ! {error}; continuing", error.detail))))


def _destroy(
    held: Stack, stack: str, *, keep: bool, unprotect: bool, end: Deadline
) -> tuple[Report | None, DeployError | None]:
    """Return what the Pulumi engine removed (None: there is no stack), and the error if it could not remove everything.

    A Pulumi engine that fails or hangs does not keep machines running: the rest is removed without it. Only another
    command's lock and a wrong login end `down` here.
    """
    try:
        with step(f"remove the resources of stack {stack}"):
            if unprotect:
                held.unprotect()
            report = held.destroy(keep=keep, limit_s=end.left_s(reserve_s=CLOUD_S))
    except (UsageError, LockedError):
        raise
    except DeployError as error:
        say("\n".join(filter(None, (f"  {error}; continuing without the Pulumi engine", error.detail))))
        return Report(), error
    if report is None:
        say(f"  stack {stack} was never created, or is already removed")
    return report, None


def cloud_name_of(stack: str) -> str:
    """Return the cloud of `stack`. If its file is wrong or missing, use the copy of the last run."""
    stack_file(stack)  # refuses a name that would be a path
    try:
        return load_stack(stack).cloud
    except (ConfigError, UsageError) as error:
        cloud = _last_cloud(stack)
        if cloud is None:
            raise
        say(f"  {error}; continuing with the file of the last run")
        return cloud


def _last_cloud(stack: str) -> str | None:
    """Return the cloud in the copy of the stack's file that the last run of the Pulumi engine made."""
    cloud = _last_deployment(stack).get("cloud")
    return None if cloud is None else str(cloud)


def _keeps(stack: str) -> bool:
    """Return whether the stack's file says to keep something."""
    try:
        return bool(load_stack(stack).storage.keep_on_down)
    except (ConfigError, UsageError):
        return bool((_last_deployment(stack).get("storage") or {}).get("keep_on_down"))


def _last_deployment(stack: str) -> dict[str, Any]:
    """Return the copy of the stack's file that the last run of the Pulumi engine made. Empty: there is no copy."""
    copy = state_dir() / "stacks" / stack / "project" / f"Pulumi.{stack}.yaml"
    try:
        return dict(read_yaml(copy, shown_as=str(copy))["config"][DEPLOYMENT_KEY])
    except (OSError, ConfigError, KeyError, TypeError):
        return {}


def _left(cloud: str, stack: str, end: Deadline) -> list[str]:
    """Remove the resources that the state does not know, and return what then remains."""
    with step("query what remains"):
        left = _asked(remaining.find, cloud, stack, end)
    there = [line for line in left if not line.startswith(NOT_KNOWN)]
    if there:
        with step(f"remove {len(there)} resource(s) that the state did not know"):
            remaining.remove(cloud, stack, end.left_s(reserve_s=LAST_LOOK_S))
            left = _asked(remaining.find, cloud, stack, end)
    return left


def _found(cloud: str, stack: str, end: Deadline) -> list[str]:
    """Return what remains after a failure, or that it is unknown."""
    try:
        return _asked(remaining.find, cloud, stack, end)
    except DeployError as error:
        return [f"{NOT_KNOWN}{error}"]


def _asked(look: Callable[[str, str], list[str]], cloud: str, stack: str, end: Deadline) -> list[str]:
    """Return the result of `look`. Raises DeployError when all its calls together take too long."""
    seconds = max(end.left_s(reserve_s=LAST_LOOK_S), LAST_LOOK_S)
    return answer_within(seconds, lambda: look(cloud, stack), where=f"cloud {cloud}")


def _forget(held: Stack, *, made: bool, after_failure: bool) -> None:
    """Remove the stack from our own backend. Other backends keep the empty stack and its history.

    After a Pulumi engine was stopped, the state still has resources that the cloud no longer has.
    """
    if made and held.backend.ours:
        held.remove(with_resources=after_failure)


def _write(stack: str, result: Teardown) -> Teardown:
    write_result(stack, "teardown.json", asdict(result))
    return result
