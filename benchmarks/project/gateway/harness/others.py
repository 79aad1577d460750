"""Other gateways from PyPI, each in a locked environment of its own."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.project.environments import environment
from benchmarks.project.gateway.harness.bench import MODEL, wait_for
from benchmarks.project.gateway.harness.load import Target
from core.errors import CheckError
from tests.gateways import free_port

LOCKS = Path(__file__).parent / "locks"
START_S = 180.0
SHOWN_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Other:
    """A gateway to compare."""

    name: str
    lock: str
    argv: Callable[[Path, int, int, Path], list[str]]
    """Takes the environment's bin folder, its own port, the engine's port, and a folder for files."""


def _vllm_router(programs: Path, port: int, engine: int, folder: Path) -> list[str]:
    words = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{engine}"]
    metrics = ["--prometheus-port", str(free_port()), "--log-dir", str(folder), "--log-level", "error"]
    return [str(programs / "vllm-router"), *words, *metrics, "--policy", "round_robin"]


def _smg(programs: Path, port: int, engine: int, folder: Path) -> list[str]:
    words = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{engine}"]
    metrics = ["--prometheus-port", str(free_port()), "--log-dir", str(folder), "--log-level", "error"]
    return [str(programs / "smg"), "launch", *words, *metrics, "--policy", "round_robin"]


def _litellm(programs: Path, port: int, engine: int, folder: Path) -> list[str]:
    served = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    config = {"model_list": [{"model_name": MODEL, "litellm_params": served}]}
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    words = ["--host", "127.0.0.1", "--port", str(port), "--config", str(folder / "config.yaml")]
    return [str(programs / "litellm"), *words, "--telemetry", "False"]


OTHERS = (
    Other(name="vllm-router", lock="vllm-router", argv=_vllm_router),
    Other(name="smg", lock="smg", argv=_smg),
    Other(name="LiteLLM", lock="litellm", argv=_litellm),
)


def version(name: str) -> str:
    """Return the version in a lock."""
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    return next(line.split()[0].partition("==")[2] for line in lines if line.startswith(f"{name}=="))


@contextmanager
def running(other: Other, engine: int, folder: Path) -> Iterator[tuple[Target, int]]:
    """Run another gateway in front of the stand-in on port `engine`. Return where, and its process id.

    Raises CheckError if it does not start.
    """
    port = free_port()
    argv = other.argv(environment(LOCKS / f"{other.lock}.txt") / "bin", port, engine, folder)
    key = f"sk-{secrets.token_hex(32)}"  # LiteLLM does not start without one
    litellm = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    quiet = {**os.environ, **litellm, "RUST_LOG": "error", "NO_COLOR": "1"}
    with (folder / f"{other.lock}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, env=quiet)
    target = Target(port=port, key=key)
    try:
        wait_for(lambda: process.poll() is not None or _serves(target), other.name, START_S)
        if process.poll() is not None:
            said = (folder / f"{other.lock}.log").read_text(errors="replace")
            raise CheckError(f"{other.name} ended with status {process.returncode}", detail=said[-SHOWN_CHARS:])
        yield target, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serves(target: Target) -> bool:
    """Return whether a request gets an answer."""
    import http.client

    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.key}"}
    connection = http.client.HTTPConnection(target.address, target.port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        return connection.getresponse().status == 200  # noqa: PLR2004 (HTTP)
    except OSError:
        return False
    finally:
        connection.close()
