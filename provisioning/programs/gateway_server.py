#!/usr/bin/env python3
"""Tell a running gateway whether to pass new requests to the engine. Requests that are under way go on.

    gateway-server SOCKET BACKEND/SERVER drain|ready

Exits 0 also when no gateway runs: an engine without one has nobody to tell.
"""

from __future__ import annotations

import socket
import sys

TIMEOUT_S = 5


def main(path: str, server: str, state: str) -> int:
    """Send the command to HAProxy's socket; return the exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return 0
        connection.sendall((f"set server {server} state {state}\n").encode())
        connection.shutdown(socket.SHUT_WR)
        said = connection.makefile().read().strip()
    if said:
        print("HAProxy says: " + said, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
