"""Connections that need patience: the first to a rented machine, and a second one that proves a login."""

import threading
import time
from collections.abc import Callable

import fabric

from core.console import say
from core.deadline import Deadline
from core.errors import HostError
from infra.clouds import RENTED
from provisioning.connection import LoginError, NoAnswerError, OtherHostError, Reachable, open_connection
from provisioning.remote import stream

PATIENCE_S = 300.0
"""How long a rented machine may take to boot; every other is there, or it is not."""

PAUSE_S = 3.0

SECOND_TRIES = 5
SECOND_PAUSE_S = 1.0
"""sshd takes a moment to listen again after a reload."""


def patience_s(cloud: str) -> float:
    """Return how long a host of this cloud is waited for."""
    return PATIENCE_S if cloud in RENTED else 0.0


def open_when_up(
    host: Reachable,
    patience_s: float,
    given_up: threading.Event,
    *,
    connect: Callable[[Reachable], fabric.Connection] = open_connection,
) -> fabric.Connection:
    """Return an open connection; a host that does not answer is tried again for `patience_s` or until `given_up`.

    Raises HostError in words; one that tells of more than silence at once.
    """
    end, told = Deadline.after(patience_s), False
    while True:
        try:
            return connect(host)
        except NoAnswerError:
            if not end.left_s():
                raise
            if not told:
                say(f"  {host.name} does not answer yet; trying again for up to {patience_s:.0f} s")
                told = True
            if given_up.wait(PAUSE_S):
                raise


def second_login(
    host: Reachable,
    *,
    connect: Callable[[Reachable], fabric.Connection] = open_connection,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Log in to `host` as a newcomer and run a command as root there; return why that failed, or nothing."""
    said = ""
    for _ in range(SECOND_TRIES):
        try:
            connection = connect(host)
        except (LoginError, OtherHostError) as error:
            return error.what
        except HostError as error:  # sshd, or a jump host's view of it, is not there again yet
            said = error.what
            sleep(SECOND_PAUSE_S)
            continue
        try:
            for _ in stream(connection, host, ("true",)):
                pass
        except HostError as error:
            return error.what
        finally:
            connection.close()
        return ""
    return said
