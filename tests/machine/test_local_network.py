"""A machine's network on a host with a strict firewall: admitted, and restored afterwards."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from core.paths import CHECKOUT


@pytest.fixture(scope="module")
def looks() -> list[dict[str, Any]]:
    """The observations of network_alone.py before, with, without, and after the last machine."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    command = ("unshare", "--net", "--mount", sys.executable, "-m", "tests.machine.network_alone")
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_it_is_created_only_once(looks: list[dict[str, Any]]) -> None:
    assert looks[1]["links"].count("llm-0000002a") == 1
    assert "llm-0000002a" in looks[1]["namespaces"]
    assert looks[1]["tables"].count("table ip llm_0000002a") == 1


def test_a_firewall_that_drops_lets_this_machine_through_and_no_other(looks: list[dict[str, Any]]) -> None:
    accepted = [line.strip() for line in looks[1]["filter"].splitlines() if "accept" in line]
    assert accepted == [
        'oifname "llm-0000002a" accept comment "llm-0000002a"',
        'iifname "llm-0000002a" accept comment "llm-0000002a"',
    ]
    assert looks[1]["open"] == looks[0]["open"]


def test_everything_is_removed(looks: list[dict[str, Any]]) -> None:
    for key in ("filter", "open", "tables", "links", "namespaces"):
        assert looks[2][key] == looks[0][key]


def test_forwarding_is_restored_with_the_last_machine(looks: list[dict[str, Any]]) -> None:
    assert [look["forwarding"] for look in looks] == ["0", "1", "1", "0"]
