#!/usr/bin/env python3
"""Wait until the engine answers: its health check, and one token of the base model. Starts and stops nothing.

    engine-ready PORT MODEL TIMEOUT_S [HEALTH_PATH]

The key is VLLM_API_KEY from the environment, as in the unit, or from /etc/llm/engine.env. Under systemd, MAINPID is the
engine's process, and waiting stops when that ends. Without MAINPID waiting also stops if a running engine does not have
the model. Exits 0 after a token, else 1 with the reason.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

ENGINE_ENV = "/etc/llm/engine.env"
POLL_S = 0.25
ANSWER_TIMEOUT_S = 60


def engine_key() -> str:
    """Return the engine's key; empty if it has none.

    The file belongs to root. If this engine has no key, the file may be a previous engine's and must not be read.
    """
    if "VLLM_API_KEY" in os.environ:
        return os.environ["VLLM_API_KEY"]
    try:
        pairs = [line.partition("=") for line in Path(ENGINE_ENV).read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, PermissionError):
        return ""
    return next((value for name, _, value in pairs if name == "VLLM_API_KEY"), "")


def ask(url: str, key: str, body: object = None) -> int:
    """Return the status of the answer to a request; raises OSError if there is no answer."""
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310  # loopback
    # No proxy for loopback, whatever the host's environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def try_once(port: str, model: str, key: str, health_path: str = "/health") -> str:
    """Return why the engine is not ready yet; empty if it is ready."""
    base = "http://127.0.0.1:" + port
    try:
        health = ask(base + health_path, key)
        if health != HTTPStatus.OK:
            return f"{health_path} answers {health}"
        status = ask(base + "/v1/completions", key, {"model": model, "prompt": "Hello", "max_tokens": 1})
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", error))
    return "" if status == HTTPStatus.OK else f"a completion answers {status}"


NO_MODEL = f"a completion answers {HTTPStatus.NOT_FOUND.value}"
"""The engine serves another model. During a provision that changes the model, that is the old one."""


def is_gone(pid: str) -> bool:
    """Return whether process `pid` has ended."""
    return bool(pid) and not Path("/proc", pid).exists()


def main(port: str, model: str, timeout_s: str, health_path: str = "/health") -> int:
    """Retry until the engine is ready; return the exit status."""
    key, main_pid = engine_key(), os.environ.get("MAINPID", "")
    deadline = time.monotonic() + float(timeout_s)
    while True:
        reason = try_once(port, model, key, health_path)
        # Check this after an answer too: if the engine could not bind the port, another program may answer on it.
        gone = is_gone(main_pid)
        if not reason and not gone:
            return 0
        final = reason == NO_MODEL and not main_pid
        if gone or final or time.monotonic() >= deadline:
            print("not ready: " + ("the engine has ended" if gone else reason), file=sys.stderr)
            return 1
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
