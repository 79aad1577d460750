"""The state of one systemd unit, read from what `systemctl show` prints."""

from collections.abc import Mapping
from dataclasses import dataclass

RESULT_WORDS = {
    "oom-kill": "killed for lack of memory",
    "start-limit-hit": "failed repeatedly",
    "timeout": "took too long",
    "watchdog": "hung",
    "signal": "was killed",
    "core-dump": "crashed",
    "exit-code": "ended with status {status}",
}
"""systemd's `Result`, in plain words."""

CAME_BACK = ", restarted by systemd"


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """One of our systemd units."""

    name: str
    active: bool
    words: str
    """systemd's words, e.g. `active (running)`, how it ended, and how often systemd restarted it."""
    since: str = ""
    restarts: int = 0
    """How often systemd restarted it after it died."""
    gave_up: bool = False
    """Whether systemd no longer restarts it."""
    invocation: str = ""
    """systemd's id of the present start."""
    says: str = ""
    """The line that one of our services reports about itself, e.g. why it keeps requests away."""

    @property
    def passing(self) -> str:
        """What systemd is doing with it: `stopping`, `starting`, `restarting` after it died, or empty."""
        if self.words.startswith("activating (auto-restart)"):
            return "restarting"
        return {"deactivating": "stopping", "activating": "starting"}.get(self.words.partition(" ")[0], "")

    def has_failed(self, starts: int) -> bool:
        """Return whether systemd gave up on it, or it died `starts` times."""
        return not self.active and (self.gave_up or self.restarts >= starts)


def read_unit(seen: Mapping[str, str]) -> UnitState:
    """Return the state from the properties that `systemctl show` prints."""
    active = seen["ActiveState"] == "active"
    restarts = int(seen.get("NRestarts") or 0)
    gave_up = seen["ActiveState"] == "failed"
    words = f"{seen['ActiveState']} ({seen['SubState']})"
    ended = RESULT_WORDS.get(seen.get("Result", ""), "")
    if ended and not active:
        words += f", {ended.format(status=seen.get('ExecMainStatus', '?'))}"
    if gave_up and restarts:
        words += f", systemd gave up after {restarts} starts"  # including the start that it refused
    elif restarts:
        words += f"{CAME_BACK} {'once' if restarts == 1 else f'{restarts} times'}"
    return UnitState(
        name=seen["Id"],
        active=active,
        words=words,
        since=seen.get("StateChangeTimestamp", ""),
        restarts=restarts,
        gave_up=gave_up,
        invocation=seen.get("InvocationID", ""),
        says=seen.get("StatusText", "") if seen["Id"].startswith("llm-") else "",
    )
