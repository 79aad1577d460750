"""Runs on a machine: kills an installation at random moments, and lets the next run of the agent complete it each time.

    python3 apt_cut_off.py AGENT_ZIP ROUNDS SEED

Prints one line of JSON: how many rounds left what, and which round the next run did not complete. Standard library
only.
"""

import collections
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/dpkg/dpkg.cfg.d/cut-off")
NAMES = ("cut-a", "cut-b", "cut-c")
REPOSITORY = Path("/srv/cut-off")
FILES, FILE_BYTES = 40, 8000
LOOK_S = 0.01
STATES = "${db:Status-Eflag}/${db:Status-Status}\n"
PAUSE = "#!/bin/sh\nsleep 0.02\n"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def main(agent: str, rounds: int, seed: int) -> None:
    """Install and purge in turn; kill each at a random moment of the time that it usually takes."""
    publish()
    settings()
    chance = random.Random(seed)  # noqa: S311  # moments, no secrets
    lists = [write_list("install", present=NAMES), write_list("purge", absent=NAMES)]
    times = [timed(agent, each) for each in lists]
    left: collections.Counter[str] = collections.Counter()
    failed = []
    for index in range(rounds):
        listed = lists[index % 2]
        kill(agent, listed, chance.uniform(0, times[index % 2]))
        found = "half-installed" if "reinstreq" in states() or "half-installed" in states() else "other"
        left[found] += 1
        status, said = apply(agent, listed)
        if status != 0 or set(states().split()) - {"ok/installed", "ok/not-installed"} or is_there() is bool(index % 2):
            failed.append({"round": index, "status": status, "said": said[-2000:], "states": states()})
            break
    SETTINGS.unlink()
    shutil.rmtree(REPOSITORY)
    print(json.dumps({"rounds": sum(left.values()), "left": left, "failed": failed, "dpkg_s": times}))


def settings() -> None:
    """Give apt only one small repository, without syncing: the machine's disk is not under test."""
    SETTINGS.write_text("force-unsafe-io\n", encoding="ascii")
    (REPOSITORY / "lists/partial").mkdir(parents=True)
    (REPOSITORY / "sources.list").write_text(f"deb [trusted=yes] copy:{REPOSITORY} ./\n", encoding="ascii")
    (REPOSITORY / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{REPOSITORY}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{REPOSITORY}/lists";\nAPT::Sandbox::User "root";\n',
        encoding="ascii",
    )
    os.environ["APT_CONFIG"] = str(REPOSITORY / "apt.conf")
    subprocess.run(["apt-get", "-q", "update"], check=True, stdout=subprocess.DEVNULL)


def publish() -> None:
    """Build packages that take a moment to unpack and to configure; two depend on the first."""
    REPOSITORY.mkdir(parents=True)
    index = ""
    for name in NAMES:
        root = REPOSITORY / f".{name}"
        for number in range(FILES):
            path = root / f"usr/share/{name}/{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number) * FILE_BYTES, encoding="ascii")
        (root / "DEBIAN").mkdir()
        depends = "" if name == NAMES[0] else f"Depends: {NAMES[0]}\n"
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <a@b.invalid>\n{depends}"
        control += "Description: taken apart\n"
        (root / "DEBIAN/control").write_text(control, encoding="ascii")
        for script in SCRIPTS:
            (root / "DEBIAN" / script).write_text(PAUSE, encoding="ascii")
            (root / "DEBIAN" / script).chmod(0o755)
        archive = REPOSITORY / f"{name}.deb"
        build = ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(root), str(archive)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        index += f"{control}Filename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {sha256}\n\n"
    (REPOSITORY / "Packages").write_text(index, encoding="ascii")


def write_list(name: str, present: tuple[str, ...] = (), absent: tuple[str, ...] = ()) -> str:
    """Write a list of resources for the agent, and return its path."""
    wanted: dict[str, Any] = {"kind": "packages", "id": f"packages:{name}", "name": name, "after": []}
    path = REPOSITORY / f"{name}.json"
    document = {"by": "cut-off", "resources": [{**wanted, "present": present, "absent": absent}]}
    path.write_text(json.dumps(document), encoding="ascii")
    return str(path)


def start(agent: str, listed: str) -> "subprocess.Popen[str]":
    """Start the agent on a list."""
    argv = [sys.executable, "-IS", agent, "apply", listed]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def apply(agent: str, listed: str) -> tuple[int, str]:
    """Run the agent to its end; return its status and what it said."""
    process = start(agent, listed)
    said = process.communicate(timeout=120)[0]
    return process.returncode, said


def timed(agent: str, listed: str) -> float:
    """Return how many seconds apt's dpkg works in a run that is not killed."""
    process = start(agent, listed)
    wait_for_dpkg(process)
    began = time.monotonic()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    return time.monotonic() - began


def kill(agent: str, listed: str, after_s: float) -> None:
    """Start the agent, and kill it with all that it started, as a reset does, some time after apt has called dpkg."""
    process = start(agent, listed)
    wait_for_dpkg(process)
    time.sleep(after_s)
    for pid in [*descendants(process.pid, stop=True), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def wait_for_dpkg(process: "subprocess.Popen[str]") -> None:
    """Return when apt has called dpkg to change something, or when the agent has ended."""
    while process.poll() is None:
        if any("--status-fd" in words(pid) for pid in descendants(process.pid)):
            return
        time.sleep(LOOK_S)


def words(pid: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def descendants(parent: int, *, stop: bool = False) -> list[int]:
    """Return the processes below `parent`, whatever their session; each stopped first if they are to be killed."""
    found: list[int] = []
    waiting = [parent]
    while waiting:
        pid = waiting.pop()
        try:
            if stop:
                os.kill(pid, signal.SIGSTOP)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            continue
        found += map(int, children)
        waiting += map(int, children)
    return found


def states() -> str:
    """Return the states of the packages."""
    argv = ["dpkg-query", "-W", "-f", STATES, *NAMES]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


def is_there() -> bool:
    """Return whether the packages are installed with all of their files."""
    whole = all(len(list(Path(f"/usr/share/{name}").glob("*"))) == FILES for name in NAMES)
    return whole and states().split() == ["ok/installed"] * len(NAMES)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
