"""What a service tells systemd: that it is ready, that it still works, and one line about its state.

The line is `StatusText` of `systemctl show`, so `make status` shows it.
"""

import os
import socket


def notify(**values: str) -> None:
    """Send values such as READY="1" or STATUS="up" to systemd; does nothing outside a unit."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    text = "\n".join(f"{name}={value}" for name, value in values.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(text.encode(), address)
