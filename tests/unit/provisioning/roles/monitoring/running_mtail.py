"""mtail with the program of the monitoring role, for tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning.roles.monitoring.exporters import access_program
from tests.gateways import ADDRESS, free_port, wait_for
from tests.metrics import Metrics


@contextmanager
def running_mtail(folder: Path, *logs: Path) -> Iterator[Metrics]:
    """Feed the lines of `logs`, as `journalctl --output=cat` prints them, to the program of the unit."""
    program = folder / "access.mtail"
    program.write_text(access_program())
    port = free_port()
    names = " ".join(map(str, logs))
    feed = ["sh", "-c", f"tail --quiet --lines=+1 --follow {names} | sed --unbuffered 's/^<[0-9]>//'"]
    script = (
        "import sys; from provisioning.programs.monitoring.access_metrics import *; "
        f"sys.exit(run({feed!r}, mtail_command({str(program)!r}, '{port}')))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    metrics = Metrics(f"http://{ADDRESS}:{port}/metrics")
    try:
        wait_for(metrics.answers, "mtail")
        yield metrics
    finally:
        subprocess.run(["pkill", "--session", str(process.pid)], check=False)
        process.wait()
