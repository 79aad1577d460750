"""What the engine starts as the vendor's plugin: asks the double, which runs already, for a provider and its port.

launcher.py VARIABLE PREFIX    the double's URL is in VARIABLE; variables with PREFIX are handed on: who is calling

A provider in its own process would load the vendor's SDK for every run of the engine, which takes seconds.
Standard library only, so that `python -I -S` is enough.
"""

import http.client
import json
import os
import signal
import sys
from urllib.parse import urlsplit

PATH = "/double/provider"

ANSWER_S = 600
"""How long the double may take; the deadline of the engine allows for a slow machine."""


def main(variable: str, prefix: str) -> None:
    """Print the port, then wait for the engine to end this process."""
    url = os.environ.get(variable)
    if not url:
        sys.exit(f"{variable} is not set: this is the double of a cloud's plugin, for tests only")
    environ = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_S)
    connection.request("POST", PATH, body=json.dumps({"environ": environ, "pid": os.getpid()}))
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        sys.exit(f"{url}{PATH}: {answer.status} {answer.read().decode()}")
    sys.stdout.write(f"{json.loads(answer.read())}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:3])
