"""A host's report becomes a status: what is missing, how long the certificate is valid, what needs attention."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.status import HostStatus, read_report, screen
from tests.unit.provisioning.records import host, stack

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GIB = 1024**3


def certificate(days: float) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(NOW - timedelta(days=400))
    made = builder.not_valid_after(NOW + timedelta(days=days)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def unit(name: str, state: str = "active", sub: str = "running", restarts: int = 0) -> dict[str, str]:
    return {"Id": name, "ActiveState": state, "SubState": sub, "NRestarts": str(restarts), "InvocationID": "ab"}


def report(**changed: Any) -> dict[str, Any]:
    whole = {
        "boot_id": "1234",
        "units": [unit("vllm.service"), unit("haproxy.service"), unit("llm-firewall.service", sub="exited")],
        "models": ["tiny"],
        "certificate": certificate(80.5),
        "disks": [
            {"path": "/", "device": 1, "free_bytes": 9 * GIB, "total_bytes": 10 * GIB},
            {"path": "/var/lib/llm", "device": 1, "free_bytes": 9 * GIB, "total_bytes": 10 * GIB},
        ],
        "memory": {"free_bytes": 3 * GIB, "total_bytes": 4 * GIB},
        "reboot_pending": False,
        "errors": [],
    }
    return {**whole, **changed}


def status(**changed: Any) -> HostStatus:
    return read_report(report(**changed), stack(), host(), now=NOW)


def test_a_host_where_all_works_serves() -> None:
    seen = status()
    assert seen.serves
    assert seen.missing == ""
    assert seen.certificate_days == 80
    assert [each.name for each in seen.space] == ["/", "memory"]


def test_a_certificate_serves_to_its_last_hour_and_no_longer() -> None:
    assert status(certificate=certificate(0.5)).serves
    assert not status(certificate=certificate(-0.5)).serves


MISSING = {
    "engine loads": ({"models": None}, "the engine does not answer yet"),
    "adapter is missing": ({"models": []}, "the engine does not list tiny"),
    "unit is down": ({"units": [unit("vllm.service", "failed", "failed")]}, "vllm.service is failed (failed)"),
    "unit came back": (
        {"units": [unit("vllm.service", "activating", "start", 2)]},
        "vllm.service is activating (start), came back by itself 2 times",
    ),
    "gateway is silent": ({"certificate": None}, "the gateway does not answer yet"),
}


@pytest.mark.parametrize(("changed", "words"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_said(changed: dict[str, Any], words: str) -> None:
    seen = status(**changed)
    assert seen.missing == words
    assert not seen.serves


def test_a_host_without_engine_misses_nothing_and_serves_nothing() -> None:
    seen = status(units=[unit("llm-firewall.service")], models=None, certificate=None)
    assert seen.missing == ""
    assert not seen.serves


@pytest.mark.parametrize(
    ("days", "serves", "mark"),
    [(80.5, True, " "), (13.5, True, "!"), (-0.5, False, "!")],
    ids=["long", "soon", "ended"],
)
def test_a_certificate_that_ends_is_marked_in_time(days: float, serves: bool, mark: str) -> None:
    seen = status(certificate=certificate(days))
    assert seen.serves is serves
    line = next(line for line in screen(seen).splitlines() if "certificate" in line)
    assert line.startswith(mark)


MARKED = {
    "full disk": (
        {"disks": [{"path": "/", "device": 1, "free_bytes": GIB // 2, "total_bytes": 10 * GIB}]},
        "! /                  0.5 of 10.0 GiB free",
    ),
    "reboot": ({"reboot_pending": True}, "! reboot             pending, for updates"),
    "error": ({"errors": ["12:00 vllm: ERROR out of memory"]}, "! error              12:00 vllm: ERROR out of memory"),
}


@pytest.mark.parametrize(("changed", "line"), MARKED.values(), ids=MARKED.keys())
def test_what_needs_attention_is_marked(changed: dict[str, Any], line: str) -> None:
    assert line in screen(status(**changed)).splitlines()


def test_a_host_that_was_not_reached_is_one_line() -> None:
    assert screen(HostStatus(host="a", address="x", error="a: no answer; is it on?")) == "✗ a: no answer; is it on?"


@pytest.mark.parametrize(
    ("state", "restarts", "failed"),
    [("failed", 0, True), ("activating", 2, True), ("activating", 1, False), ("active", 5, False)],
)
def test_an_engine_that_will_not_come_up_is_told_from_one_that_loads(state: str, restarts: int, failed: bool) -> None:
    seen = status(units=[unit("vllm.service", state, restarts=restarts)]).unit("vllm.service")
    assert seen is not None
    assert seen.has_failed(2) is failed
