"""The smoke test: the endpoint answers as the spec says, and only with a valid key.

python -m serving.smoke --stack STACK | --endpoint FILE [--wait-s SECONDS] [--json]

Every check runs, also after a failure. Exit status 1 if one failed. The result is runs/<stack>/<time>/smoke.json.
Changes nothing on any host.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.arguments import Parser
from core.console import next_command, plain, say
from core.errors import CheckError, DeployError, run_cli
from core.runs import write_result

if TYPE_CHECKING:
    from serving.endpoint import Endpoint
    from serving.smoke.checks import Check

LookAtGpu = Callable[[str], str]
"""Returns the proof that a host computes on its GPUs, or raises CheckError."""
NextCommands = Callable[[bool], Sequence[str]]
"""Returns the useful next commands; the argument is whether all checks passed."""

PAUSE_S = 1.0
CONNECT_S = 5.0
READY = 200
KEY_REFUSED = "HTTP 401"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check, as in smoke.json."""

    name: str
    ok: bool
    seconds: float
    detail: str
    """The result or the failure as text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the smoke test; return the exit status."""
    parser = Parser(prog="serving.smoke", description="Prove that an endpoint serves as its stack file says.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--stack", help="stack whose endpoint `provision` wrote")
    which.add_argument("--endpoint", type=Path, help="endpoint file that `provision` wrote")
    parser.add_argument("--wait-s", type=float, default=0, help="time to wait until the endpoint is ready")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    options = parser.parse_args(arguments)
    say(f"→ smoke test of {options.stack or options.endpoint}")
    return run_cli(lambda: smoke(_endpoint(options), wait_s=options.wait_s, as_json=options.json))


def smoke(
    endpoint: "Endpoint",
    *,
    wait_s: float = 0,
    as_json: bool = False,
    look_at_gpu: LookAtGpu | None = None,
    next_commands: NextCommands = lambda _: (),
    bring_key: str = "`provision`",
) -> int:
    """Check `endpoint`, print and write the result; return 1 if a check failed.

    `bring_key` is the command that copies the API keys to the hosts. `look_at_gpu` is called for each GPU host after
    the endpoint has answered; it and `next_commands` come from a caller that knows the hosts. Raises CheckError if the
    endpoint cannot be reached at all, ConfigError if its key or CA is missing.
    """
    began = time.monotonic()
    endpoint.api_key()  # read first: a missing key is a usage error, not a failed check
    found: list[CheckResult] = []
    try:
        for url in endpoint.urls:
            wait_until_ready(url, endpoint.ca, wait_s)
            found += run_checks(endpoint, url)
        found += [
            _run(f"gpu[{name}]", lambda name=name: (look_at_gpu or _nobody_looked)(name))  # type: ignore[misc]
            for name in endpoint.gpu_hosts
        ]
    except CheckError as error:
        found.append(CheckResult(name="reachable", ok=False, seconds=_since(began), detail=str(error)))
        raise
    finally:
        ok = bool(found) and all(check.ok for check in found)
        checks = [asdict(check) for check in found]
        result = {"stack": endpoint.stack, "endpoint": endpoint.url, "ok": ok, "checks": checks}
        path = write_result(endpoint.stack, "smoke.json", result)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print_table(endpoint, found)
    failed = [check.name for check in found if not check.ok]
    if is_key_refused(found):
        say(
            f"! the gateway does not know the key of {endpoint.client} in {endpoint.keys_file}. "
            f"After `rotate-key`, {bring_key} copies the new key to the hosts"
        )
    if failed:
        say(f"✗ smoke test: {len(failed)} of {len(found)} checks failed: {', '.join(failed)}; {path}")
    else:
        say(f"✓ smoke test: {len(found)} checks, {_since(began)} s; {path}")
    if commands := next_commands(ok):
        next_command(*commands)
    return CheckError.exit_code if failed else 0


def is_key_refused(found: Sequence[CheckResult]) -> bool:
    """Return whether the gateway answers but refuses the clients' key."""
    listed = [check for check in found if check.name.startswith("models_listed")]
    return any(not check.ok and KEY_REFUSED in check.detail for check in listed)


def _nobody_looked(_: str) -> str:
    """Fail, because an endpoint also answers when the CPU computes and the GPU is idle."""
    raise CheckError("the endpoint does not show whether the GPU computes; `make smoke` checks the host too")


def run_checks(endpoint: "Endpoint", url: str) -> list[CheckResult]:
    """Return the result of each check of `url`. With several hosts, the names contain the URL."""
    from serving.smoke.checks import Target, checks
    from serving.timed_client import Client

    suffix = f"@{url.removeprefix('https://')}" if endpoint.other_urls else ""
    with Client(url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        target = Target(endpoint=endpoint, url=url, client=client)
        return [_run(f"{name}{suffix}", check) for name, check in checks(target)]


def _run(name: str, check: "Check") -> CheckResult:
    """Return the result of one check."""
    began = time.monotonic()
    try:
        detail, ok = check(), True
    except DeployError as error:
        detail, ok = str(error), False
    if not ok:
        say(f"✗ {name}: {detail}")
    return CheckResult(name=name, ok=ok, seconds=_since(began), detail=detail)


def wait_until_ready(
    url: str,
    ca: Path | None,
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait up to `wait_s` until `url` is healthy; raise CheckError if it does not become so.

    With `wait_s` 0, an open port is enough: the checks do the rest.
    """
    end = clock() + wait_s
    while True:
        state = _state(url, ca)
        if state is None:
            return
        if clock() >= end:
            break
        sleep(min(PAUSE_S, max(0.0, end - clock())))
    if wait_s or state.startswith("cannot"):
        after = f" after {wait_s:g} s" if wait_s else ""
        raise CheckError(f"{state}{after}", where=url, hint="see the status and the logs of its hosts")


def _state(url: str, ca: Path | None) -> str | None:
    """Return why `url` is not ready, or None. A check reports a certificate that is not trusted."""
    from serving.timed_client import Client

    try:
        with Client(url, key=None, ca=ca, timeout_s=CONNECT_S) as client:
            status = client.ask("GET", "/health").status_code
    except CheckError as error:
        return None if "CERTIFICATE_VERIFY_FAILED" in error.what else f"cannot be reached: {error.what}"
    return None if status == READY else f"is not ready: GET /health returns {status}"


def print_table(endpoint: "Endpoint", found: Sequence[CheckResult]) -> None:
    """Print the checks for a person, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{endpoint.stack}: {', '.join(endpoint.urls)}", title_justify="left")
    for heading in ("check", "", "s", "result"):
        table.add_column(heading, justify="right" if heading == "s" else "left", overflow="fold")
    for check in found:
        mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
        table.add_row(_plain(check.name), mark, f"{check.seconds:.2f}", _plain(check.detail))
    console = Console(file=sys.stdout)
    console.width = max(console.width, 120) if not console.is_terminal else console.width
    console.print(table)


def _plain(text: str) -> str:
    """Return `text` without control characters, and with brackets escaped, which rich would read as colours."""
    from rich.markup import escape

    return escape(plain(text))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _endpoint(options: argparse.Namespace) -> "Endpoint":
    """Return the endpoint of the command line."""
    from serving.endpoint import endpoint_file, read_endpoint

    if options.endpoint:
        return read_endpoint(options.endpoint, hint="name a file that `provision` wrote")
    hint = f"run `make provision STACK={options.stack}`, which writes it"
    return read_endpoint(endpoint_file(options.stack), hint=hint)
