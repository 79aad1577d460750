#!/usr/bin/env python3
"""Set whether a running gateway passes new requests to the engine. Running requests continue.

    gateway-server SOCKET BACKEND/SERVER drain|ready [WAIT_S]

With WAIT_S it then waits at most that many seconds until no request is running. Exits 0 if no gateway runs: an engine
may have none.
"""

from __future__ import annotations

import socket
import sys
import time

TIMEOUT_S = 5
POLL_S = 0.2


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


def main(path: str, server: str, state: str, wait_s: str = "0") -> int:
    """Send the command to HAProxy's socket; return the exit status."""
    deadline = time.monotonic() + float(wait_s)
    try:
        said = ask(path, f"set server {server} state {state}")
        while not said and time.monotonic() < deadline and under_way(path, server):
            time.sleep(POLL_S)
    except (FileNotFoundError, ConnectionRefusedError):
        return 0
    if said:
        print("HAProxy says: " + said, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
