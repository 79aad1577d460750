"""How long the look at a unit waits for its `ready` command. systemd is a double; the commands are real programs."""

from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.converge.agent.kinds import unit

READY, NEVER_READY = ("true",), ("sleep", "1000")


@pytest.mark.parametrize(
    ("state", "due", "command", "ready"),
    [
        ("active", "", READY, True),
        ("activating", "", READY, True),
        ("inactive", "", NEVER_READY, False),
        ("failed", "", NEVER_READY, False),
        ("active", "restart", NEVER_READY, False),
    ],
)
def test_only_a_running_unit_that_stays_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, state: str, due: str, command: tuple[str, ...], ready: bool
) -> None:
    """Each first provision waited 15 s for an engine that it had not started yet."""
    seen = {**dict.fromkeys(unit.PROPERTIES, ""), "LoadState": "loaded", "ActiveState": state}
    monkeypatch.setattr(unit, "_ask", lambda _: None)
    monkeypatch.setattr(unit, "_read", lambda units, _: {units[0]: seen})
    monkeypatch.setattr(unit, "READY_LOOK_S", 500)  # longer than a test may take
    host: Any = SimpleNamespace(state=SimpleNamespace(due=lambda _: due))
    (fact,) = unit.look([SimpleNamespace(id="unit:x", name="x", ready=command)], host)()
    assert (fact["ready"], fact["due"]) == (ready, due)
