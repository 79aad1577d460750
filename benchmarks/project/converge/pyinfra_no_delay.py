"""pyinfra's command line with TCP_NODELAY on each SSH connection: pyinfra with one more line of code."""

import socket
from typing import Any

import paramiko
from pyinfra_cli.main import main  # type: ignore[import-not-found]  # in its own environment

_init = paramiko.Transport.__init__


def _init_without_delay(self: paramiko.Transport, sock: socket.socket, *words: Any, **named: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _init(self, sock, *words, **named)


paramiko.Transport.__init__ = _init_without_delay  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
