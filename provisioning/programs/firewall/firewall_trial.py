#!/usr/bin/env python3
"""Try new firewall rules. If no new connection confirms them in time, the previous rules return.

    firewall-trial same RULES SHA256             exit 0 if RULES has that content, or a trial has just begun
    firewall-trial begin RULES TABLE UNIT        keep the previous RULES and set the timer; then RULES may be replaced
    firewall-trial settled RULES TABLE           exit 0 if no trial is in progress and the kernel has the rules
    firewall-trial settle RULES TABLE            wait for the end of a trial; load rules that the kernel has lost
    firewall-trial confirm                       say over a new connection that the new rules let one in
    firewall-trial return                        restore the previous rules, unless the new ones are confirmed
    firewall-trial boot                          the same, if the trial began before this boot

A systemd timer ends the trial, so the connection that began it may die.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STATE = Path("/var/lib/llm-deploy/firewall-trial.json")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NFT_RULES = "/usr/local/lib/llm-deploy/nft-rules"
PROGRAM = "/usr/local/lib/llm-deploy/firewall-trial"
TIMER = "llm-firewall-return"
TRIAL_S = 60
"""How long `settle` waits for a new connection."""
RETURN_S = 240
"""When the timer ends a trial whose agent has died. The timer starts with `begin`, so it must outlast the check of the
new rules and the unit's reload, a minute each, and the trial itself, which ends with `settle`."""
POLL_S = 0.2
JUST_BEGUN_S = 20
"""An older trial belongs to an interrupted run."""
REFUSED = (
    "error: no new SSH connection was possible under the new firewall rules, so the previous ones are back; check the "
    "host's ssh_cidrs, ssh_port and open_ports"
)
NOT_LOADED = "error: the new firewall rules could not be loaded, so the previous ones are back"


def state() -> dict[str, Any] | None:
    """Return the trial in progress; None if there is none."""
    try:
        found: dict[str, Any] = json.loads(STATE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def write(values: dict[str, Any]) -> None:
    """Put the state in place in one step."""
    STATE.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace(STATE, STATE.with_suffix(".new"), json.dumps(values))


def forget() -> None:
    """End the trial."""
    with contextlib.suppress(FileNotFoundError):
        STATE.unlink()


def boot_id() -> str:
    """Return this boot's id."""
    return BOOT_ID.read_text(encoding="ascii").strip()


def text_of(path: str) -> str | None:
    """Return a file's text; None if it is missing."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def same(rules: str, sha256: str) -> int:
    """Return 0 if no trial is needed, or one has just begun."""
    trial = state()
    if trial is not None and not trial.get("confirmed"):
        return 0 if just_begun(trial) else 1  # the timer of an interrupted run may end at any moment
    text = text_of(rules)
    return 0 if text and hashlib.sha256(text.encode()).hexdigest() == sha256 else 1


def just_begun(trial: dict[str, Any]) -> bool:
    """Return whether the timer was set a moment ago. The wall clock is not used: NTP may step it meanwhile."""
    begun_s = trial.get("begun_s")
    if begun_s is None or trial["boot_id"] != boot_id():
        return False
    return 0 <= time.monotonic() - float(begun_s) < JUST_BEGUN_S


def kernel_has(rules: str, table: str) -> bool:
    """Return whether the kernel's table is the one of the file."""
    return subprocess.run([NFT_RULES, "check", rules, table], stdout=subprocess.DEVNULL, check=False).returncode == 0


def load(rules: str, table: str) -> int:
    """Load the file; return the exit status."""
    return subprocess.run([NFT_RULES, "load", rules, table], check=False).returncode


def stop_timer() -> None:
    """Stop the timer, which may have ended, and the unit that it has just started."""
    subprocess.run(["systemctl", "stop", f"{TIMER}.timer", f"{TIMER}.service"], stderr=subprocess.DEVNULL, check=False)


def begin(rules: str, table: str, unit: str) -> int:
    """Keep the previous rules, and let systemd restore them after RETURN_S."""
    stop_timer()
    cut_off = state()
    former = cut_off["former"] if cut_off and not cut_off.get("confirmed") else text_of(rules)
    trial = {"rules": rules, "table": table, "unit": unit, "former": former}
    trial["boot_id"] = boot_id()
    write(trial)  # before the timer is set: a crash in between must leave rules to return to
    timer = ["systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={RETURN_S}"]
    done = subprocess.run([*timer, "--timer-property=AccuracySec=1s", PROGRAM, "return"], check=False)
    if done.returncode != 0:
        forget()
        print("error: systemd did not accept the timer that restores the previous firewall rules")
        return done.returncode
    write({**trial, "begun_s": time.monotonic()})  # only now: systemd may be slow on a loaded host
    return 0


def confirm() -> int:
    """Keep the new rules if the new connection came in under them; return 1 if the kernel has other rules."""
    trial = state()
    if trial is None or trial.get("confirmed"):
        return 0
    if not kernel_has(trial["rules"], trial["table"]):
        print("error: the kernel does not have the new firewall rules, so a connection proves nothing")
        return 1
    write({**trial, "confirmed": True})
    stop_timer()
    return 0


def settle(rules: str, table: str) -> int:
    """Wait until a trial has ended; return 1 if the previous rules were restored."""
    trial = state()
    if trial is not None and not trial.get("confirmed"):
        if text_of(rules) == trial["former"]:  # the new rules were refused, so there is nothing to try
            stop_timer()
            forget()
        elif not kernel_has(rules, table) and load(rules, table) != 0:
            # The unit was skipped or its reload failed: a connection under the old rules would confirm the new ones.
            bring_back()
            stop_timer()
            print(NOT_LOADED)
            return 1
    if not wait_for_end():
        stop_timer()
        print(REFUSED)
        return 1
    if text_of(rules) is None or kernel_has(
        rules, table
    ):  # without a file, the check that refused the rules has already reported that
        return 0
    return load(rules, table)


def wait_for_end() -> bool:
    """Return once no trial is in progress: False if it ended without a confirmation."""
    deadline = time.monotonic() + TRIAL_S + 5
    waited = False
    while True:
        trial = state()
        if trial is None:
            return not waited
        if trial.get("confirmed"):
            forget()
            return True
        if not waited:
            print("waiting for a new connection to confirm the firewall", flush=True)
            waited = True
        if time.monotonic() > deadline:
            bring_back()
        time.sleep(POLL_S)


def settled(rules: str, table: str) -> int:
    """Return 0 if there is nothing to settle; else print what would be done."""
    if state() is not None:
        print("planned: let a new connection confirm the rules, or restore the previous ones")
        return 1
    if text_of(rules) is None:
        return 0
    return subprocess.run([NFT_RULES, "check", rules, table], check=False).returncode


def bring_back() -> int:
    """Restore the previous rules in file and kernel, unless the new ones are confirmed."""
    trial = state()
    if trial is None or trial.get("confirmed"):
        return 0
    if trial["former"] is None:
        drop = subprocess.run([NFT_RULES, "drop", trial["table"]], check=False)
        subprocess.run(["systemctl", "disable", "--now", trial["unit"]], check=False)
        put(trial["rules"], None)
        status = drop.returncode
    else:
        put(trial["rules"], trial["former"])
        status = load(trial["rules"], trial["table"])
    forget()
    print("<4>no new connection confirmed the new firewall rules: the previous ones are back", file=sys.stderr)
    return status


def boot() -> int:
    """Restore the previous rules file if the trial began before this boot; then the unit loads it."""
    trial = state()
    if trial is None or trial["boot_id"] == boot_id():
        return 0
    if not trial.get("confirmed"):
        put(trial["rules"], trial["former"])
    forget()
    return 0


def put(path: str, text: str | None) -> None:
    """Replace a file in one step; remove it if there was none."""
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        return
    replace(Path(path), Path(f"{path}.former"), text)


def replace(path: Path, new: Path, text: str) -> None:
    """Replace a file in one step that survives a power cut; `new` is a name beside it."""
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.chmod(0o644)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main(command: str, *words: str) -> int:
    """Run the command; return the exit status."""
    commands: dict[str, Callable[..., int]] = {
        "same": same,
        "begin": begin,
        "settled": settled,
        "settle": settle,
        "confirm": confirm,
        "return": bring_back,
        "boot": boot,
    }
    return commands[command](*words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
