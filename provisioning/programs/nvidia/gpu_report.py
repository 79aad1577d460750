#!/usr/bin/env python3
"""Print as JSON where the engine of this host computes, without the use of the engine's own config.

    gpu-report UNIT ENGINE PORT

Changes nothing and sends no request to the engine: VRAM shows what computed the last answers.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_S = 10
PROGRAM_S = 60
WSL = "/usr/lib/wsl/lib"
"""Where WSL 2 has nvidia-smi; it is not on root's PATH."""
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
"""In vLLM's order: it loads the first kind that exists."""


def output(*argv: str) -> str:
    """Return a program's output; empty if it fails, hangs or is missing."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=PROGRAM_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def smi(query: str) -> list[list[str]]:
    """Return the rows that nvidia-smi answers with."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL)))
    text = output(program, query, "--format=csv,noheader,nounits") if program else ""
    return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]


def processes_on_gpus() -> list[dict[str, Any]]:
    """Return each process that the driver reports, with its memory if reported."""
    rows = smi("--query-compute-apps=gpu_uuid,pid,used_memory")
    return [
        {"gpu": row[0], "pid": int(row[1]), "mib": int(row[2]) if row[2].isdecimal() else None}
        for row in rows
        if len(row) == 3 and row[1].isdecimal()  # noqa: PLR2004
    ]


def container() -> str:
    """Return the container that hides processes from the driver (wsl, docker, systemd-nspawn …); empty if none does."""
    return output("systemd-detect-virt", "--container").strip()


def properties(unit: str) -> dict[str, str]:
    """Return systemd's properties of the unit."""
    text = output("systemctl", "show", "--property=MainPID,InvocationID", "--", unit)
    return dict(line.partition("=")[::2] for line in text.splitlines())


def processes_of(unit: str) -> list[int]:
    """Return all processes of the unit: any of them may use the GPU."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if f"/{unit}" in path.read_text(encoding="ascii"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has just ended
    return found


def vllm_weights(pid: str) -> int:
    """Return the size in bytes of the weights that the process loads; 0 if it does not run."""
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().decode().split("\0")
        folder = Path(words[words.index("--model") + 1])
    except (OSError, ValueError, IndexError):
        return 0
    kinds = (sum(path.stat().st_size for path in folder.glob(pattern)) for pattern in WEIGHTS)
    return next((size for size in kinds if size), 0)


def vllm_platform(invocation: str) -> str:
    """Return the device that vLLM named at its start, e.g. `cuda`; empty if its journal does not say."""
    text = output("journalctl", "-q", "-o", "cat", "--no-pager", f"_SYSTEMD_INVOCATION_ID={invocation}")
    found = re.findall(r"\bdevice_config=(\w+)", text)
    return found[-1] if found else ""


def ollama_models(port: str) -> list[dict[str, Any]]:
    """Return the models that Ollama has loaded: size in memory, in VRAM and of the file, in bytes."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback

    def get(path: str) -> list[dict[str, Any]]:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_S) as answer:
            return json.load(answer)["models"] or []

    try:
        files = {each["name"]: each["size"] for each in get("/api/tags")}
        return [
            {"name": each["name"], "size": each["size"], "vram": each["size_vram"], "file": files.get(each["name"], 0)}
            for each in get("/api/ps")
        ]
    except (OSError, ValueError, KeyError):
        return []


def main(unit: str, engine: str, port: str) -> None:
    """Print the report."""
    seen = properties(unit)
    of_vllm = engine == "vllm"
    report = {
        "drivers": [row[0] for row in smi("--query-gpu=driver_version")],
        "apps": processes_on_gpus(),
        "container": container(),
        "engine_pids": processes_of(unit),
        "weights_bytes": vllm_weights(seen.get("MainPID", "0")) if of_vllm else 0,
        "platform": vllm_platform(seen.get("InvocationID", "")) if of_vllm else "",
        "models": [] if of_vllm else ollama_models(port),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
