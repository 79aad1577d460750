"""Connections with retries: the first to a cloud machine that boots, and a second one that proves a login."""

import threading
import time
from collections.abc import Callable

import fabric

from catalog.clouds import RENTED
from core.console import say
from core.errors import DeployError, HostError
from core.waiting.deadline import Deadline
from core.waiting.timeouts import answer_within
from provisioning.ssh.connection import LoginError, NoAnswerError, OtherHostError, open_connection
from provisioning.ssh.remote import ConnectionCutError, stream
from provisioning.ssh.target import SshTarget

PATIENCE_S = 300.0
"""How long a cloud machine may take to boot; all other hosts are not waited for."""

PAUSE_S = 3.0

NEW_LOGIN_S = 45.0
"""How long a new login is retried: shorter than the host waits for it (sshd_file.CONFIRM_S, firewall_trial.TRIAL_S)."""

NEW_LOGIN_PAUSE_S = 1.0
"""sshd takes a moment to listen again after a reload."""


def patience_s(cloud: str) -> float:
    """Return how long to wait for a host of this cloud."""
    return PATIENCE_S if cloud in RENTED else 0.0


def open_when_up(
    host: SshTarget,
    patience_s: float,
    given_up: threading.Event,
    *,
    connect: Callable[[SshTarget], fabric.Connection] = open_connection,
) -> fabric.Connection:
    """Return an open connection; retry a host that does not answer for `patience_s` or until `given_up`.

    Raises HostError; every other failure than silence is raised without a retry.
    """
    end, announced = Deadline.after(patience_s), False
    while True:
        try:
            return connect(host)
        except NoAnswerError:
            if not end.left_s():
                raise
            if not announced:
                say(f"  {host.name} does not answer yet; trying again for up to {patience_s:.0f} s")
                announced = True
            if given_up.wait(PAUSE_S):
                raise


def new_login(
    host: SshTarget,
    act: Callable[[fabric.Connection], object],
    *,
    connect: Callable[[SshTarget], fabric.Connection] = open_connection,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    patience_s: float = NEW_LOGIN_S,
) -> str:
    """Log in to `host` over a new connection and `act` there; return why that failed, or empty text.

    Temporary failures (a lost packet, a busy sshd, a jump host) are retried for `patience_s`, with `act`.
    """
    end = Deadline.after(patience_s, clock)

    def tries() -> str:
        while True:
            failure, may_pass = _one_login(host, act, connect)
            if not may_pass or end.left_s() <= NEW_LOGIN_PAUSE_S:
                return failure
            sleep(NEW_LOGIN_PAUSE_S)

    try:
        return answer_within(patience_s, tries, where=host.name)
    except DeployError as error:
        return error.what


def _one_login(
    host: SshTarget, act: Callable[[fabric.Connection], object], connect: Callable[[SshTarget], fabric.Connection]
) -> tuple[str, bool]:
    """Return why one login failed, or empty text; and whether a retry may work."""
    try:
        connection = connect(host)
    except (LoginError, OtherHostError) as error:
        return error.what, False
    except HostError as error:  # sshd is not listening again yet, or the jump host cannot reach it
        return error.what, True
    try:
        act(connection)
    except HostError as error:
        return error.what, isinstance(error, ConnectionCutError)
    finally:
        connection.close()
    return "", False


def second_login(
    host: SshTarget,
    *,
    connect: Callable[[SshTarget], fabric.Connection] = open_connection,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Log in to `host` over a new connection and run a command as root; return why that failed, or empty text."""
    act: Callable[[fabric.Connection], object] = lambda there: list(stream(there, host, ("true",)))  # noqa: E731
    return new_login(host, act, connect=connect, sleep=sleep, clock=clock)
