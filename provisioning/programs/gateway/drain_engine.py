#!/usr/bin/env python3
"""Set whether gateways pass new requests to this host's engine. Running requests continue.

    gateway-server SOCKET BACKEND/SERVER drain|ready NOTICE [WAIT_S]

NOTICE is a file: while it exists, the engine's watcher answers `drain` to every gateway. The HAProxy of this host gets
the command on its socket too. With WAIT_S, `drain` then waits at most that many seconds until no request is running.
`ready` waits until the watcher lets requests in. Exits 0 if no gateway runs: an engine may have none.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

TIMEOUT_S = 5
POLL_S = 0.2
SEEN_S = 0.7
"""By then every gateway has asked the watcher again: HAProxy asks it twice a second."""
ADMITTED_S = 20
AGENT_PORT = 8406


def ask(path: str, command: str) -> str:
    """Return HAProxy's answer on its socket. Raises OSError if HAProxy does not run."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        connection.sendall((command + "\n").encode())
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile().read().strip()


def under_way(path: str, server: str) -> int:
    """Return how many requests the engine is answering."""
    header, *rows = ask(path, "show stat").lstrip("# ").splitlines()
    column = header.split(",").index("scur")
    fields = [row.split(",") for row in rows]
    return sum(int(row[column]) for row in fields if row[:2] == server.split("/"))


def watcher() -> str:
    """Return the watcher's answer; empty if none runs."""
    try:
        with socket.create_connection(("127.0.0.1", AGENT_PORT), timeout=TIMEOUT_S) as connection:
            return connection.makefile().readline().strip()
    except OSError:
        return ""


def drain(notice: str) -> None:
    """Make the watcher answer `drain`, and wait until the gateways know it."""
    folder = Path(notice).parent
    folder.mkdir(parents=True, exist_ok=True)
    # The unit's umask would let nobody else in: the watcher then finds no end of a notice that it cannot read.
    folder.chmod(0o755)
    Path(notice).touch()
    if watcher():
        time.sleep(SEEN_S)


def admit(notice: str) -> None:
    """Let the watcher answer for the engine again, and wait until it lets requests in."""
    with suppress(FileNotFoundError):
        Path(notice).unlink()
    deadline = time.monotonic() + ADMITTED_S
    while watcher().startswith("down") and time.monotonic() < deadline:
        time.sleep(POLL_S)


def main(path: str, server: str, state: str, notice: str, wait_s: str = "0") -> int:
    """Tell the watcher and HAProxy; return the exit status."""
    deadline = time.monotonic() + float(wait_s)
    if state == "drain":
        drain(notice)
    else:
        admit(notice)
    try:
        said = ask(path, f"set server {server} state {state}")
        if not said and state == "ready" and watcher().startswith("up"):
            # At once, not at HAProxy's next question: the watcher has just got a token from the engine.
            ask(path, f"set server {server} agent up")
            ask(path, f"set server {server} health up")
        while not said and time.monotonic() < deadline and under_way(path, server):
            time.sleep(POLL_S)
    except (FileNotFoundError, ConnectionRefusedError):
        return 0
    if said:
        print("HAProxy says: " + said, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
