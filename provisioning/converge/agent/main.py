"""Entry points of the agent: over a connection (`serve`), or from a file for a bundle's installer (`main`).

python3 agent.pyz apply resources.json --blobs DIR
python3 agent.pyz plan  resources.json
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from .blobs import FolderBlobs, WireBlobs
from .confirm import WireConfirm, unasked
from .converge import Run, read_environment, read_resources
from .events import Cut, Events, Failure
from .host import Host
from .state import STATE_DIR, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable

    from .host import Blobs

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",
}
SYSTEMD_MARK = "/run/systemd/system"
"""Exists while systemd is the init system (sd_booted(3))."""
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_CUT = 0, 1, 2, 3


def serve(read: Callable[[], bytes], stream: BinaryIO) -> int:
    """Run the list that a controller sends; blobs and the end of the connection come from `stream`.

    If the controller is gone before it has sent the whole list, nothing is done.
    """
    try:
        document = json.loads(read())
    except Exception:
        return EXIT_CUT
    events = Events(sys.stdout.fileno(), stream.fileno())
    if not os.path.isdir(SYSTEMD_MARK) and any(entry["kind"] == "unit" for entry in document["resources"]):
        events.emit("refused", error="systemd is not running on this host, and the roles need its units", detail="")
        return EXIT_FAILED
    return _run(document, events, WireBlobs(events, stream), STATE_DIR, WireConfirm(events, stream))


def main(arguments: list[str]) -> int:
    """Run a list of resources from a file, without a controller; events go to stdout too."""
    import argparse  # a run over a connection does not need it

    parser = argparse.ArgumentParser(
        prog="agent", description="Bring this host to its desired state, a list of resources.", allow_abbrev=False
    )
    parser.add_argument("mode", choices=("apply", "plan"))
    parser.add_argument("resources", help="list of resources as JSON, e.g. from a bundle")
    parser.add_argument("--blobs", help="folder of large files, each named after its SHA-256")
    parser.add_argument(
        "--state", default=STATE_DIR, help="folder of the lock and the recorded state (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    with open(options.resources, encoding="utf-8") as stream:
        document = json.load(stream)
    document["dry_run"] = options.mode == "plan"
    events = Events(sys.stdout.fileno(), None)
    return _run(document, events, FolderBlobs(options.blobs), options.state, unasked)


def _run(
    document: dict[str, Any], events: Events, blobs: Blobs, state_dir: str, confirm: Callable[[str, float], str]
) -> int:
    os.environ.update(ENVIRONMENT)
    os.umask(0o022)

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        events.cut = True

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    dry = bool(document["dry_run"])
    state = State(state_dir, writes=not dry)
    began = time.monotonic()
    try:
        resources = read_resources(document["resources"], events.keep_secret)
        os.environ.update(read_environment(document, events.keep_secret))
        units = [resource.name for resource in resources if resource.kind == "unit"]
        state.open(str(document["by"]))
        run = Run(resources, Host(events, state, blobs, units, confirm), dry=dry)
        loaded = time.monotonic()
        run.look()
        looked = time.monotonic()
        ok = run.change()
        ended = time.monotonic()
    except Failure as failure:
        events.emit("refused", error=failure.what, detail=failure.detail)
        return EXIT_FAILED
    except Cut:
        return EXIT_CUT
    except Exception:  # a bug here: the controller shows the traceback, with secrets masked
        import traceback

        events.emit("crashed", detail=traceback.format_exc())
        return EXIT_FAILED
    finally:
        state.close()
    phases = {"agent_start": loaded - began, "facts": looked - loaded, "compare_and_change": ended - looked}
    events.emit("end", phases={name: round(seconds, 4) for name, seconds in phases.items()})
    return EXIT_OK if ok else EXIT_FAILED
