"""A provider double as a program, for a network namespace of its own: TLS, a record of bodies, a switch.

python -m tests.doubles.llm_provider_away ADDRESS PORT CERTIFICATE RECORD SWITCH

Appends every body that it reads to the file RECORD, and answers with the status in the file SWITCH.
"""

import ssl
import sys
import threading
from pathlib import Path

from tests.doubles.llm_provider import running_provider


def main(address: str, port: str, certificate: str, record: str, switch: str) -> None:
    """Serve until the process ends."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    lock = threading.Lock()
    with running_provider(tls, address, int(port)) as provider:

        def note(moment: str) -> None:
            if moment != "received":
                return
            with lock, Path(record).open("ab") as file:
                while provider.received:
                    file.write(provider.received.pop().body + b"\n")
            provider.status = int(Path(switch).read_text())

        provider.at = note
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
