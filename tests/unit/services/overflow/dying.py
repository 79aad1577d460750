"""A program that answers one request again and again in a child process, which dies a few lines later each time.

Prints how each child ended, and waits for a line before the next one.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from services.overflow.ledger import Ledger
from services.overflow.metrics import Metrics
from services.overflow.relay import Relay
from services.overflow.request import parse_request
from services.overflow.service import client_of
from services.overflow.settings import Settings, read_settings
from tests.doubles.llm_provider import PROVIDER_KEY

STRIDE = 17
BODY = b'{"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": true}'


def _note(_provider: str, _client: str, _outcome: str) -> None:
    pass


def answer(settings: Settings, lines: int) -> None:
    """Answer one request; die by SIGKILL after `lines` lines of the service's code."""
    left = lines

    def step(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if "/services/overflow/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return step

    sys.settrace(step)
    ledger = Ledger(settings.ledger)
    clients = {each.name: client_of(each, PROVIDER_KEY) for each in settings.providers}
    relay = Relay(settings, clients, ledger, Metrics(settings, ledger), _note)
    served = relay.send(parse_request("/v1/chat/completions", "default", BODY, 100))
    for _chunk in served.chunks:
        pass


def main(path: str) -> None:
    """Start child after child until one ends by itself."""
    settings = read_settings(Path(path).read_text())
    client_of(settings.providers[0], PROVIDER_KEY)  # imports the SDK before the forks
    ended = -signal.SIGKILL
    lines = 0
    while ended == -signal.SIGKILL:
        child = os.fork()
        if child == 0:
            answer(settings, lines)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(ended, flush=True)
        sys.stdin.readline()
        lines += STRIDE


if __name__ == "__main__":
    main(sys.argv[1])
