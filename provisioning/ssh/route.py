"""The way to a host's sshd: straight to its address, or as an OpenSSH config file of the inventory says.

`ssh -G` tells what a config file means, so that Host, Match and Include count as they do for `ssh` itself. A jump host
is reached by OpenSSH with the same file, and must be in the user's known_hosts: its host key is always checked.
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
"""A chain of jump hosts takes several logins; OpenSSH gives up on its own before."""

QUESTION_S = 10
END_S = 5
"""How long a proxy command has to end when it is asked to."""


@dataclass(frozen=True)
class Route:
    """Where sshd is, and what stands in between."""

    address: str
    port: int
    identity_files: tuple[Path, ...] = ()
    """The private keys that the config names, those that are files which can be seen."""
    proxy: tuple[str, ...] = field(default=())
    """A command whose stdin and stdout lead to sshd; empty for a plain connection."""


def route(host: SshTarget) -> Route:
    """Return the way to `host`. Raises UsageError when its `ssh_config` cannot be used."""
    if host.ssh_config is None:
        return Route(host.address, host.ssh_port)
    if file_at(host.ssh_config) is None:
        hint = "name an OpenSSH client config that you may read, e.g. ~/.ssh/config, or leave ssh_config out"
        raise UsageError(f"ssh_config: there is no file {host.ssh_config}", where=host.name, hint=hint)
    said = _asked(host.ssh_config, host.user, host.address, host.ssh_port)
    return route_of(said, host.ssh_config, host.user, host.address)


def route_of(said: str, config: Path, user: str, name: str) -> Route:
    """Return what the output of `ssh -G` says of the host that the inventory calls `name`."""
    values: dict[str, list[str]] = {}
    for line in said.splitlines():
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
    """Return the file with `~` expanded; None when there is none that this user may see."""
    try:
        found = Path(path).expanduser()
        return found if found.is_file() else None
    except (OSError, RuntimeError):  # in a folder that is closed to this user; `~` of an unknown user
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
def _asked(config: Path, user: str, address: str, port: int) -> str:
    """Return what `ssh -G` prints; the file's Port counts unless the inventory names another than 22."""
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
        said = (own_words(done.stderr.encode()).splitlines() or ["ssh -G failed"])[0]
        raise UsageError(f"ssh_config: {said}", where=str(config), hint=shown)
    return done.stdout


def _ssh() -> str:
    program = shutil.which("ssh")
    if program is None:
        hint = "install the package openssh-client: ssh_config and jump hosts need it"
        raise UsageError("is not installed on this machine", where="ssh", hint=hint)
    return program


def open_proxy(proxy: tuple[str, ...], where: str) -> socket.socket:
    """Return a socket to the sshd at the end of `proxy`, which has begun to speak. Raises HostError in its words."""
    mine, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the thread that waits for the command's end)
    try:
        end = theirs.fileno()
        process = subprocess.Popen(proxy, stdin=end, stdout=end, stderr=said, start_new_session=True)
    except OSError as error:
        mine.close()
        said.close()
        raise HostError(f"{proxy[0]} cannot be run: {error.strerror}", where=where) from error
    finally:
        theirs.close()
    try:
        mine.settimeout(JUMP_ANSWER_S)
        began = mine.recv(1, socket.MSG_PEEK)  # a server greets first
    except OSError:
        began = b""
    if began:
        threading.Thread(target=_reap, args=(process, said), daemon=True).start()
        return mine
    mine.close()
    _end(process)
    words = _words(process, said)
    hint = f"try it: {' '.join(proxy)}" if proxy[0] == "ssh" else "see ProxyCommand of its ssh_config"
    raise HostError(f"the jump host or proxy command failed: {words or 'no answer'}", where=where, hint=hint)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and what it started: asked first, killed when it does not listen."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return


def _words(process: "subprocess.Popen[bytes]", said: IO[bytes]) -> str:
    process.wait()
    said.seek(0)
    words = own_words(said.read())
    said.close()
    return "; ".join(words.splitlines()[:3])


def _reap(process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
    """Wait for the command's end: it ends with its socket."""
    with contextlib.suppress(OSError):
        process.wait()
        said.close()
