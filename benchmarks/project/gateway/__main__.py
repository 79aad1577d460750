"""Measure the gateway: overhead, saturation, queue, affinity, overload, classes, faults, spending, malformed requests.

The engines are stand-ins with set times; the gateway is the real HAProxy with the generator's configuration. Other
gateways are measured beside it. A missed goal is reported, and the exit status is 0 all the same.
"""

import os
import platform
import sys
import time
from types import ModuleType

from benchmarks.project.gateway.harness.bench import Bench
from benchmarks.project.gateway.rows import (
    affinity,
    classes,
    faults,
    malformed,
    overhead,
    overload,
    ports,
    saturation,
    spend,
    waiting,
)
from core.arguments import Parser
from core.console import say
from core.errors import run_cli
from core.runs import write_result

ROWS: dict[str, ModuleType] = {
    "overhead": overhead,
    "saturation": saturation,
    "waiting": waiting,
    "affinity": affinity,
    "overload": overload,
    "classes": classes,
    "faults": faults,
    "spend": spend,
    "malformed": malformed,
    "ports": ports,
}
"""In the order in which they run. docs/benchmarks.md says how long each takes."""


def main() -> int:
    """Run the rows, print each figure as it is known, and write the result."""
    parser = Parser(prog="make bench-gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests, to try the benchmark")
    parser.add_argument("--row", action="append", choices=ROWS, help="measure this row only (repeat for several)")
    options = parser.parse_args()
    bench = Bench(quick=options.quick)
    began = time.monotonic()
    for name in options.row or ROWS:
        say(f"→ {ROWS[name].ROW}; load {os.getloadavg()[0]:.1f}")
        ROWS[name].run(bench)
    judged = [figure for figure in bench.table.figures if figure.met is not None]
    missed = [figure for figure in judged if not figure.met]
    say(f"  {len(missed)} of {len(judged)} goals missed; {time.monotonic() - began:.0f} s")
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}
    result = {"ok": not missed, "quick": options.quick, "machine": machine, **bench.table.as_json()}
    say(f"written to {write_result('bench-gateway', 'gateway.json', result)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
