#!/usr/bin/env python3
"""Print a report of this host as JSON. Changes nothing, and prints no secret.

report QUESTION    JSON: {"units": […], "engine_port": …, "engine_env": …, "gateway_port": …, "data_dir": …}
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_S = 5
PROPERTIES = "Id,LoadState,ActiveState,SubState,NRestarts,InvocationID,StateChangeTimestamp"
ERROR_LINES = 5
LONGEST_LINE = 200


def output(*argv: str) -> str:
    """Return what a program writes, nothing when it is missing."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout


def units(names: list[str]) -> list[dict[str, str]]:
    """Return systemd's view of the units that exist."""
    blocks = output("systemctl", "show", f"--property={PROPERTIES}", "--", *names).split("\n\n")
    seen = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return [unit for unit in seen if unit.get("LoadState") != "not-found"]


def served_models(port: int, environment: str) -> list[str] | None:
    """Return the engine's models; none when it does not answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models")
    try:
        settings = dict(line.partition("=")[::2] for line in Path(environment).read_text(encoding="utf-8").splitlines())
        request.add_header("Authorization", "Bearer " + settings.get("VLLM_API_KEY", ""))
    except OSError:
        pass  # an engine without a key
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is behind no proxy
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            return [model["id"] for model in json.load(answer)["data"]]
    except (OSError, ValueError, KeyError):
        return None


def certificate(port: int) -> str | None:
    """Return the gateway's certificate as base64 of DER; none when nothing answers there with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # its dates are looked at, not its word
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        with plain, context.wrap_socket(plain) as secured:
            return base64.b64encode(secured.getpeercert(binary_form=True) or b"").decode()
    except OSError:
        return None


def memory_bytes() -> dict[str, int]:
    """Return the lines of /proc/meminfo, in bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def disk(path: str) -> dict[str, Any]:
    """Return how full the disk is that holds `path`, or that will hold it."""
    there = next(each for each in (Path(path), *Path(path).parents) if each.exists())
    usage = shutil.disk_usage(there)
    return {"path": path, "device": there.stat().st_dev, "total_bytes": usage.total, "free_bytes": usage.free}


def last_errors(names: list[str]) -> list[str]:
    """Return the newest lines of the units' journals that tell of an error; engines do not mark them for journald."""
    chosen = [part for name in names for part in ("-u", name)]
    lines = output("journalctl", "-q", "--no-pager", "-o", "short-iso", "--since", "-1h", "-n", "2000", *chosen)
    marks = ("ERROR", "CRITICAL", "Error:", "[ALERT]", "Failed with result", "error:")
    found = [line for line in lines.splitlines() if any(mark in line for mark in marks) and " WARNING " not in line]
    return [line[:LONGEST_LINE] for line in found[-ERROR_LINES:]]


def main(question: str) -> None:
    """Print the report."""
    asked = json.loads(question)
    memory = memory_bytes()
    report = {
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        "units": units(asked["units"]),
        "models": served_models(asked["engine_port"], asked["engine_env"]),
        "certificate": certificate(asked["gateway_port"]),
        "disks": [disk(path) for path in ("/", asked["data_dir"])],
        "memory": {"total_bytes": memory["MemTotal"], "free_bytes": memory["MemAvailable"]},
        "reboot_pending": Path("/run/reboot-required").exists(),
        "errors": last_errors(asked["units"]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
