"""The route to a host's sshd: directly to its address, or as an OpenSSH config file of the inventory says.

`ssh -G` evaluates the config file, so that Host, Match and Include work as for `ssh` itself. OpenSSH connects to a jump
host with the same file; the user's known_hosts must have it, because its host key is always checked.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from core.errors import HostError, UsageError
from core.ports import SSH_PORT
from provisioning.ssh.host_output import own_words
from provisioning.ssh.target import SshTarget

JUMP_ANSWER_S = 60
"""A chain of jump hosts takes several logins; OpenSSH itself gives up earlier."""

QUESTION_S = 10
END_S = 5
"""How long a proxy command may take to end after SIGTERM."""


@dataclass(frozen=True)
class Route:
    """Where sshd is, and the command that leads to it, if any."""

    address: str
    port: int
    identity_files: tuple[Path, ...] = ()
    """The private keys of the config that are readable files."""
    proxy: tuple[str, ...] = field(default=())
    """A command whose stdin and stdout are connected to sshd; empty for a direct connection."""


def route(host: SshTarget) -> Route:
    """Return the route to `host`. Raises UsageError if its `ssh_config` cannot be used."""
    if host.ssh_config is None:
        return Route(host.address, host.ssh_port)
    if file_at(host.ssh_config) is None:
        hint = "name an OpenSSH client config that you may read, e.g. ~/.ssh/config, or leave ssh_config out"
        raise UsageError(f"ssh_config: there is no file {host.ssh_config}", where=host.name, hint=hint)
    output = _ssh_config_of(host.ssh_config, host.user, host.address, host.ssh_port)
    return route_of(output, host.ssh_config, host.user, host.address)


def route_of(output: str, config: Path, user: str, name: str) -> Route:
    """Return the route from the output of `ssh -G` for the host that the inventory calls `name`."""
    values: dict[str, list[str]] = {}
    for line in output.splitlines():
        option, _, value = line.partition(" ")
        values.setdefault(option.lower(), []).append(value.strip())
    address, port = values["hostname"][0], int(values["port"][0])
    tokens = {"%h": address, "%n": name, "%p": str(port), "%r": user, "%%": "%"}
    here = socket.gethostname()
    more = {"%d": str(Path.home()), "%i": str(os.getuid()), "%l": here, "%L": here.partition(".")[0]}
    more["%u"] = getpass.getuser()
    more["%k"] = values.get("hostkeyalias", [name])[0]
    at_home = {**tokens, **more}
    files = (file_at(_expanded(each, at_home)) for each in values.get("identityfile", []))
    proxy: tuple[str, ...] = ()
    if (jump := values.get("proxyjump", ["none"])[0]) != "none":
        proxy = jump_command(jump, config, address, port)
    elif (command := values.get("proxycommand", ["none"])[0]) != "none":
        proxy = ("sh", "-c", "exec " + _expanded(command, tokens))
    return Route(address, port, tuple(each for each in files if each is not None), proxy)


def file_at(path: str | Path) -> Path | None:
    """Return the file with `~` expanded; None if this user can see no such file."""
    try:
        found = Path(path).expanduser()
        return found if found.is_file() else None
    except (OSError, RuntimeError):  # in a folder without access; `~` of an unknown user
        return None


def jump_command(jumps: str, config: Path, address: str, port: int) -> tuple[str, ...]:
    """Return the OpenSSH command that leads through `jumps` (`[user@]host[:port]`, several joined by commas)."""
    *before, last = jumps.split(",")
    strict = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes")
    chain = ("-J", ",".join(before)) if before else ()
    target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    end = last if "://" in last else f"ssh://{last}"
    return ("ssh", "-F", str(config), *strict, *chain, "-W", target, end)


def _expanded(command: str, tokens: dict[str, str]) -> str:
    """Return the value of an option with OpenSSH's tokens filled in."""
    done, rest = "", command
    while (at := rest.find("%")) >= 0 and at + 1 < len(rest):
        token = rest[at : at + 2]
        done += rest[:at] + tokens.get(token, token)
        rest = rest[at + 2 :]
    return done + rest


@cache
def _ssh_config_of(config: Path, user: str, address: str, port: int) -> str:
    """Return what `ssh -G` prints; the file's Port applies unless the inventory has another port than 22."""
    program = _ssh()
    own_port = ("-p", str(port)) if port != SSH_PORT else ()
    argv = (program, "-G", "-F", str(config), "-l", user, *own_port, address)
    shown = f"`ssh -G -F {config} {address}` shows it"
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=QUESTION_S
        )
    except subprocess.TimeoutExpired:
        what = f"ssh_config: ssh -G did not end within {QUESTION_S} s; does it have a slow `Match exec`?"
        raise UsageError(what, where=str(config), hint=shown) from None
    if done.returncode != 0:
        output = (own_words(done.stderr.encode()).splitlines() or ["ssh -G failed"])[0]
        raise UsageError(f"ssh_config: {output}", where=str(config), hint=shown)
    return done.stdout


def _ssh() -> str:
    program = shutil.which("ssh")
    if program is None:
        hint = "install the package openssh-client: ssh_config and jump hosts need it"
        raise UsageError("is not installed on this machine", where="ssh", hint=hint)
    return program


def open_proxy(proxy: tuple[str, ...], where: str) -> socket.socket:
    """Return a socket to the sshd behind `proxy`, once sshd has greeted. Raises HostError with the proxy's error."""
    mine, theirs = socket.socketpair()
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the thread that waits for the command)
    try:
        end = theirs.fileno()
        process = subprocess.Popen(proxy, stdin=end, stdout=end, stderr=stderr, start_new_session=True)
    except OSError as error:
        mine.close()
        stderr.close()
        raise HostError(f"{proxy[0]} cannot be run: {error.strerror}", where=where) from error
    finally:
        theirs.close()
    try:
        mine.settimeout(JUMP_ANSWER_S)
        began = mine.recv(1, socket.MSG_PEEK)  # sshd sends the first byte
    except OSError:
        began = b""
    if began:
        threading.Thread(target=_reap, args=(process, stderr), daemon=True).start()
        return mine
    mine.close()
    _end(process)
    words = _words(process, stderr)
    hint = f"try it: {' '.join(proxy)}" if proxy[0] == "ssh" else "see ProxyCommand of its ssh_config"
    raise HostError(f"the jump host or proxy command failed: {words or 'no answer'}", where=where, hint=hint)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and its children: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return


def _words(process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> str:
    process.wait()
    stderr.seek(0)
    words = own_words(stderr.read())
    stderr.close()
    return "; ".join(words.splitlines()[:3])


def _reap(process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> None:
    """Wait for the command, which ends when its socket closes."""
    with contextlib.suppress(OSError):
        process.wait()
        stderr.close()
