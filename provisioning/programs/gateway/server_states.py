#!/usr/bin/env python3
"""Print HAProxy's states of the servers behind a gateway, as JSON {"BACKEND/SERVER": STATE}; {} if none runs.

    server-states SOCKET

Changes nothing.
"""

from __future__ import annotations

import csv
import json
import socket
import sys

TIMEOUT_S = 5


def states(path: str) -> dict[str, str]:
    """Return the states of all servers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return {}
        connection.sendall(b"show stat\n")
        rows = list(csv.DictReader(connection.makefile(encoding="utf-8")))
    return {f"{row['# pxname']}/{row['svname']}": row["status"] for row in rows}


if __name__ == "__main__":
    print(json.dumps(states(*sys.argv[1:])))
