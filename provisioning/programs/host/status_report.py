#!/usr/bin/env python3
"""Print a report of this host as JSON. Changes nothing, and prints no secret.

report QUESTION    JSON: {"units": […], "engine": "vllm", "engine_unit": …, "engine_port": …, "engine_env": …,
                   "gateway_port": …, "gateway_socket": …, "gateway_servers": ["BACKEND/SERVER", …],
                   "release_note": …,
                   "data_dir": …, "nft_rules": PROGRAM, "tables": [[RULES, TABLE], …]}

A value that cannot be read on a broken host is null, and `unseen` says why.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ANSWER_S = 5
PROGRAM_S = 20
"""nvidia-smi may hang forever if a GPU fell off the bus."""
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "InvocationID",
    "StateChangeTimestamp", "StatusText",
)  # fmt: skip
STOP_STEP = re.compile(r" systemd\[1\]: (Stopping|Stopped|Started|Starting) (?:vllm|ollama|vLLM|Ollama)\b")
"""systemd names a unit by its file, or by its description before version 250."""
OF_ENGINE = re.compile(r" (?:python[\d.]*|vllm|ollama)\[\d+\]: ")
"""Journald's prefix of an engine's line: the name of its program."""
ERROR_LINES = 5
LONGEST_LINE = 200
ERROR_MARKS = ("ERROR", "CRITICAL", "Error:", "[ALERT]", "Failed with result", "error:", "repeated too quickly")
TOKEN_S = 20
"""Time limit for one token from each model, all models together. A working model takes milliseconds."""
COMPUTES_S = 0.5
"""Processor time that an engine uses in that time if it computes other answers."""
CLIENTS_FAULT = re.compile(r"ErrorInfo\(.*\bcode=4\d\d\)$")  # vLLM logs a client's 4xx like this
INFORMATION = re.compile(r"\]: [IW]\d{4} \d\d:\d\d:\d\d\.\d+ ")
"""How mtail begins a line that is information or a warning. Its first one has its whole command line."""
TOKEN_COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
VERSION_PATH = {"vllm": "/version", "ollama": "/api/version"}
GPU_FIELDS = ("name", "driver_version", "memory.used", "memory.total", "utilization.gpu", "temperature.gpu")
WSL = "/usr/lib/wsl/lib"
"""Where WSL 2 has nvidia-smi; it is not on root's PATH."""
DRIVER_NOTE = Path("/var/lib/llm-deploy/nvidia-reboot.json")
"""The file that the nvidia role writes when it needs a reboot."""
CGROUP = Path("/sys/fs/cgroup")


def output(*argv: str) -> str:
    """Return a program's output; empty if it is missing or hangs."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=PROGRAM_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def units(names: list[str]) -> list[dict[str, str]]:
    """Return systemd's state of the existing units; empty without systemd."""
    blocks = output("systemctl", "show", "--property=" + ",".join(PROPERTIES), "--", *names).split("\n\n")
    seen = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return [unit for unit in seen if unit.get("LoadState", "not-found") != "not-found"]


def settled(unit: str) -> bool:
    """Return whether systemd is neither starting nor stopping the unit; True if the unit does not exist."""
    return not any(seen.get("ActiveState") in ("activating", "deactivating") for seen in units([unit]))


def tokens_of(engine: Engine, unit: str) -> dict[str, Any] | None:
    """Return how long each model took for a token; None while the engine starts or stops: it then drops requests."""
    if not settled(unit):
        return None
    found = engine.tokens(unit)
    return None if found is not None and found["problem"] and not settled(unit) else found


class Engine:
    """The engine on loopback, queried with the key of this host."""

    def __init__(self, kind: str, port: int, environment: str) -> None:
        self._kind = kind
        self._silent = False
        self._base = f"http://127.0.0.1:{port}"
        try:
            lines = Path(environment).read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []  # the engine has no key
        self._key = dict(line.partition("=")[::2] for line in lines).get("VLLM_API_KEY", "")

    def get(self, path: str) -> Any:
        """Return an answer; raises OSError or ValueError without one. A hanging engine is waited for only once."""
        if self._silent:
            raise OSError("it did not answer before")
        try:
            with self._open(path, None, ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            self._silent = True
            raise

    def _open(self, path: str, body: object, timeout_s: float) -> Any:
        """Return the open answer to a GET, or to a POST of `body`. A stalled engine sends nothing for `timeout_s`."""
        headers = {"Authorization": "Bearer " + self._key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data=data, headers=headers)  # noqa: S310  # loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
        return opener.open(request, timeout=timeout_s)

    def tokens(self, unit: str, budget_s: float = TOKEN_S) -> dict[str, Any] | None:
        """Return the seconds that each model took for a token, and the reason of the first failure.

        None if the engine lists no models. `busy`: no token came in time, but the engine computed other answers.
        """
        names = self.models()
        if not names:
            return None
        seconds: dict[str, float] = {}
        before, end = self._work(unit), time.monotonic() + budget_s
        for name in self._asked(names):
            began = time.monotonic()
            if began >= end and seconds:
                break  # no time remains for the other models
            try:
                body = {"model": name, "prompt": "Hello", "max_tokens": 1}
                with self._open("/v1/completions", body, max(1.0, end - began)) as answer:
                    said = json.load(answer)
                if not (isinstance(said, dict) and said.get("choices")):
                    raise ValueError("an answer without choices")
            except urllib.error.HTTPError as error:
                return {"seconds": seconds, "problem": f"{name}: HTTP {error.code}", "busy": False}
            except (OSError, ValueError, HTTPException) as error:
                waited = time.monotonic() - began
                late = waited >= max(1.0, end - began)
                problem = f"{name}: none within {waited:.0f} s" if late else f"{name}: {error}"
                return {"seconds": seconds, "problem": problem, "busy": late and self._worked(before, self._work(unit))}
            seconds[name] = round(time.monotonic() - began, 3)
        return {"seconds": seconds, "problem": "", "busy": False}

    def _asked(self, names: list[str]) -> list[str]:
        """Return the models to test. With Ollama only loaded ones: another model would replace them in memory."""
        if self._kind != "ollama":
            return names
        return [each["name"] for each in self.loaded()][:1] or names[:1]

    def _work(self, unit: str) -> float:
        """Return a counter that grows while the engine computes: vLLM's tokens, or CPU seconds of Ollama's unit."""
        if self._kind == "ollama":
            said = output("systemctl", "show", "--value", "--property=CPUUsageNSec", "--", unit).strip()
            return int(said) / 1e9 if said.isdigit() else 0.0
        try:
            with self._open("/metrics", None, ANSWER_S) as answer:
                lines = answer.read().decode("utf-8", "replace").splitlines()
        except (OSError, HTTPException):
            return 0.0
        counted = (line.rpartition(" ")[2] for line in lines if line.startswith(TOKEN_COUNTERS))
        return sum(float(number) for number in counted)

    def _worked(self, before: float, after: float) -> bool:
        return after - before > (COMPUTES_S if self._kind == "ollama" else 0)

    def models(self) -> list[str] | None:
        """Return the names of models and adapters; None if the engine does not answer."""
        try:
            return [model["id"] for model in self.get("/v1/models")["data"] or []]
        except (OSError, ValueError, KeyError):
            return None

    def refused(self) -> dict[str, str]:
        """Return the adapters that vLLM left out at its start, with the reasons (see vllm_adapters.py)."""
        try:
            left_out = self.get("/v1/llm-deploy/adapters")["refused"] if self._kind == "vllm" else {}
            return {name: " ".join(each["problem"].split()) for name, each in left_out.items()}
        except (OSError, ValueError, KeyError):
            return {}

    def version(self) -> str:
        """Return the engine's version; empty if it does not answer."""
        try:
            return str(self.get(VERSION_PATH[self._kind])["version"])
        except (OSError, ValueError, KeyError):
            return ""

    def loaded(self) -> list[dict[str, Any]]:
        """Return Ollama's models in memory, and how much of each in GPU memory; vLLM loads all that it lists."""
        if self._kind != "ollama":
            return []
        try:
            models = self.get("/api/ps")["models"] or []
        except (OSError, ValueError, KeyError):
            return []
        return [
            {"name": each["name"], "bytes": each["size"], "vram_bytes": each.get("size_vram", 0)} for each in models
        ]


def release(note: str) -> dict[str, str]:
    """Return the engine versions that answered: the present one and the one to return to."""
    try:
        seen = json.loads(Path(note).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"good": "", "former": ""}
    return {name: (seen[name] or {}).get("version", "") for name in ("good", "former")}


def queue(path: str, servers: list[str]) -> dict[str, Any] | None:
    """Return how many requests run at the engines and wait for them; None if no gateway runs.

    `servers` are the hosts of all pools. `engine` is `UP` if one of them is. A host that the gateway does not have yet,
    because no provision followed the `up` that made it, is `UNKNOWN`.
    """
    asked = [(pool, name) for pool, _, name in (server.partition("/") for server in servers)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        connection.sendall(b"show stat\n")
        rows = list(csv.DictReader(connection.makefile(encoding="utf-8")))
    seen = {(row["# pxname"], row["svname"]): row for row in rows}
    hosts = {name: seen[pool, name]["status"] if (pool, name) in seen else "UNKNOWN" for pool, name in asked}
    known = [each for each in asked if each in seen]
    queues = [each for each in sorted({(pool, "BACKEND") for pool, _ in asked}) if each in seen]
    return {
        "running": sum(int(seen[each]["scur"]) for each in known),
        "waiting": sum(int(seen[each]["qcur"]) for each in (*queues, *known)),
        "engine": max(hosts.values(), key=lambda status: status.startswith("UP")),
        "hosts": hosts,
    }


def certificate(port: int) -> str | None:
    """Return the gateway's certificate as base64 of DER; None if nothing answers there with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # read its dates; do not verify it
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        with plain, context.wrap_socket(plain) as secured:
            return base64.b64encode(secured.getpeercert(binary_form=True) or b"").decode()
    except OSError:
        return None


def lost_tables(program: str, tables: list[list[str]]) -> list[str]:
    """Return what is wrong with the nftables tables that this host's files define; empty if nothing is."""
    wrong = []
    for rules, table in tables:
        if Path(rules).exists():
            argv = [program, "check", rules, table]
            done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, timeout=PROGRAM_S)
            wrong += [done.stdout.strip().rpartition(": ")[2]] if done.returncode else []
    return wrong


def meminfo() -> dict[str, int]:
    """Return the lines of /proc/meminfo, in bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def memory(info: dict[str, int], cgroup: Path = CGROUP) -> dict[str, int]:
    """Return this host's memory; in a container the control group's, since /proc/meminfo is the machine's."""
    version2 = (cgroup / "memory.max", cgroup / "memory.current", cgroup / "memory.stat", "inactive_file")
    group = cgroup / "memory"
    version1 = (
        group / "memory.limit_in_bytes",
        group / "memory.usage_in_bytes",
        group / "memory.stat",
        "total_inactive_file",
    )
    for limit_file, usage_file, stat_file, reclaimable in (version2, version1):
        limit = numbers_of(limit_file).get("", info["MemTotal"])
        if limit < info["MemTotal"]:
            used = numbers_of(usage_file)[""] - numbers_of(stat_file)[reclaimable]
            return {"total_bytes": limit, "free_bytes": min(limit - used, info["MemAvailable"])}
    return {"total_bytes": info["MemTotal"], "free_bytes": info["MemAvailable"]}


def oom_kills(cgroup: Path = CGROUP, vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel has killed for lack of memory since the host started."""
    for path in (cgroup / "memory.events", cgroup / "memory" / "memory.oom_control", vmstat):
        seen = numbers_of(path)
        if "oom_kill" in seen:
            return seen["oom_kill"]
    return 0


def numbers_of(path: Path) -> dict[str, int]:
    """Return the numbers of a kernel file, by the word before each; a missing file and `max` give no entry."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    words = [line.rpartition(" ") for line in lines]
    return {name: int(number) for name, _, number in words if number.isdigit()}


def disk(path: str) -> dict[str, Any]:
    """Return how full the disk is that holds `path` or will hold it."""
    there = next(each for each in (Path(path), *Path(path).parents) if each.exists())
    usage = shutil.disk_usage(str(there))
    return {"path": path, "device": there.stat().st_dev, "total_bytes": usage.total, "free_bytes": usage.free}


def gpus() -> list[dict[str, str]] | None:
    """Return nvidia-smi's values for each GPU; None if it is not installed or fails."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL)))
    if program is None:
        return None
    said = output(program, "--query-gpu=" + ",".join(GPU_FIELDS), "--format=csv,noheader,nounits")
    rows = csv.DictReader(said.splitlines(), fieldnames=GPU_FIELDS, skipinitialspace=True)
    return [row for row in rows if None not in row.values()] or None


def last_errors(names: list[str]) -> list[str]:
    """Return the newest error lines of the units' journals; engines do not set a priority for journald."""
    chosen = [part for name in names for part in ("-u", name)]
    said = output("journalctl", "-q", "--no-pager", "-o", "short-iso", "--since", "-1h", "-n", "2000", *chosen)
    lines = without_stops(said.splitlines())
    return [line[:LONGEST_LINE] for line in lines if tells_of_error(line)][-ERROR_LINES:]


def without_stops(lines: list[str]) -> list[str]:
    """Return `lines` without an engine's lines from while systemd stops it: it logs dropped requests as errors.

    systemd's own lines stay: they say if the stop failed.
    """
    kept, stopping = [], False
    for line in lines:
        step = STOP_STEP.search(line)
        if step:
            stopping = step[1] == "Stopping"
        if not (stopping and OF_ENGINE.search(line)):
            kept.append(line)
    return kept


def tells_of_error(line: str) -> bool:
    """Return whether a journal line reports a fault of this host, not of a client."""
    excused = " WARNING " in line or CLIENTS_FAULT.search(line) or INFORMATION.search(line)
    return not excused and any(mark in line for mark in ERROR_MARKS)


def reboot_needed_by() -> list[str] | None:
    """Return what needs a reboot, packages and the driver; None if nothing does."""
    driver = driver_that_waits()
    if not Path("/run/reboot-required").exists():
        return driver or None
    try:
        return sorted(set(Path("/run/reboot-required.pkgs").read_text(encoding="utf-8").split())) + driver
    except FileNotFoundError:
        return driver


def driver_that_waits() -> list[str]:
    """Return the driver that the next boot loads, if one was installed during this boot."""
    try:
        asked = json.loads(DRIVER_NOTE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return ["NVIDIA driver " + asked["driver"]] if asked["boot_id"] == boot_id() else []


def boot_id() -> str:
    """Return the ID of this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def main(question: str) -> None:
    """Print the report."""
    asked = json.loads(question)
    engine = Engine(asked["engine"], asked["engine_port"], asked["engine_env"])
    sections: dict[str, Callable[[], Any]] = {
        "boot_id": boot_id,
        "units": lambda: units(asked["units"]),
        "models": engine.models,
        "refused": engine.refused,
        "engine_version": engine.version,
        "tokens": lambda: tokens_of(engine, asked["engine_unit"]),
        "loaded": engine.loaded,
        "release": lambda: release(asked["release_note"]),
        "queue": lambda: queue(asked["gateway_socket"], asked["gateway_servers"]),
        "certificate": lambda: certificate(asked["gateway_port"]),
        "lost_tables": lambda: lost_tables(asked["nft_rules"], asked["tables"]),
        "disks": lambda: [disk(path) for path in ("/", asked["data_dir"])],
        "memory": lambda: memory(meminfo()),
        "swap": lambda: {"total_bytes": meminfo()["SwapTotal"], "free_bytes": meminfo()["SwapFree"]},
        "oom_kills": oom_kills,
        "gpus": gpus,
        "kernel": lambda: os.uname().release,
        "reboot_needed_by": reboot_needed_by,
        "errors": lambda: last_errors(asked["units"]),
        "time": time.time,
    }
    report: dict[str, Any] = {}
    unseen: dict[str, str] = {}
    for name, look in sections.items():
        try:
            report[name] = look()
        except Exception as error:  # report the rest, whatever is broken
            report[name] = None
            unseen[name] = f"{type(error).__name__}: {error}"
    print(json.dumps({**report, "unseen": unseen}))


if __name__ == "__main__":
    main(*sys.argv[1:])
