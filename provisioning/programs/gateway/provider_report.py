#!/usr/bin/env python3
"""Print how the providers of this gateway do, as JSON {"unresolved": {NAME: WHY}, "tries": {METRIC: [SAMPLE, …]}}.

provider-report PORT NAME…

PORT: metrics of the overflow service on loopback. NAME: host name of a provider. Changes nothing, and connects to no
provider. `tries` is empty if the service does not answer.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
import urllib.request
from http.client import HTTPException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_S = 3.0
NAMES_S = 10.0
"""Time limit for all names together. A DNS server that is away keeps a look-up for longer."""
METRICS = {
    "requests": "llm_overflow_requests_total",
    "failed": "llm_overflow_failed_total",
    "failed_in_row": "llm_overflow_failed_in_row",
}
SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def unresolved(names: list[str]) -> dict[str, str]:
    """Return why names have no address, by name."""
    wrong = dict.fromkeys(names, f"no answer within {NAMES_S:.0f} s")

    def look_up(name: str) -> None:
        try:
            socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            wrong[name] = str(getattr(error, "strerror", None) or error)
        else:
            wrong.pop(name, None)

    threads = [threading.Thread(target=look_up, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    end = time.monotonic() + NAMES_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(wrong)


def tries(port: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the service counted since its start."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
    try:
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_S) as answer:
            lines = answer.read().decode("utf-8", "replace").splitlines()
    except (OSError, HTTPException):
        return {}
    found = [match for match in map(SAMPLE.fullmatch, lines) if match]
    return {
        name: [{**dict(LABEL.findall(each[2])), "value": float(each[3])} for each in found if each[1] == metric]
        for name, metric in METRICS.items()
    }


def main(port: str, *names: str) -> int:
    """Print the report; return the exit status."""
    print(json.dumps({"unresolved": unresolved(list(names)), "tries": tries(int(port))}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
