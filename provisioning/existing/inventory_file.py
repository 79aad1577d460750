"""The inventory that `adopt` writes: YAML to read and edit. Overwrites an edited file only if `replace` is set."""

import difflib
import hashlib
import re
from pathlib import Path

from core.errors import UsageError
from core.files import write_atomically
from infra.contract.outputs import HostRecord
from provisioning.existing.verdict import Plan, kept_open
from provisioning.hosts.facts import HostFacts
from provisioning.templates.render import render

MARK = re.compile(r"^# adopt ([0-9a-f]{64})\n", re.MULTILINE)
"""Line with the SHA-256 of the text below it: shows whether the file was edited."""


def inventory_text(host: HostRecord, facts: HostFacts, plan: Plan, *, login: str) -> str:
    """Return the file for one host, marked."""
    # only values that do not change by themselves
    seen = f"{facts.os_name or facts.os_release}, Linux {facts.kernel} on {facts.arch}"
    body = render(
        "inventory.yaml.j2",
        login=login,
        seen=seen,
        host=host,
        plan=plan,
        idle_gpus=facts.gpus_without_driver,
        password_logins=facts.password_logins,
        open_ports=kept_open(facts, host.ssh_port),
    )
    return f"# adopt {hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def is_edited(text: str) -> bool:
    """Return whether a person changed or wrote the file."""
    mark = MARK.match(text)
    return mark is None or hashlib.sha256(text[mark.end() :].encode()).hexdigest() != mark[1]


def write_inventory(path: Path, text: str, *, replace: bool) -> str:
    """Put `text` at `path`; return what was done: `written`, `unchanged` or `replaced`.

    Raises UsageError, with the difference, if the existing file was edited and `replace` is false.
    """
    try:
        there = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        there = ""
    if there == text:
        return "unchanged"
    if there and is_edited(there) and not replace:
        lines = difflib.unified_diff(
            there.splitlines(), text.splitlines(), fromfile=str(path), tofile="as the host is now", lineterm="", n=1
        )
        hint = "copy the lines that you need from the difference, or overwrite the file with ARGS=--replace"
        raise UsageError(
            "was edited since `adopt` wrote it, so it was not overwritten",
            where=str(path),
            hint=hint,
            detail="\n".join(lines),
        )
    write_atomically(path, text)
    return "replaced" if there else "written"
