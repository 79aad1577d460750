"""The addresses of providers: which are kept, and the rules and names that follow from them."""

import subprocess

import pytest

from provisioning.programs.gateway.overflow_addresses import KEEP_S, hosts_text, merged, rules_text, usable

NOW = 10_000.0


@pytest.mark.parametrize(
    ("before", "found", "after"),
    [
        pytest.param({}, ["192.0.2.1"], {"192.0.2.1": NOW}, id="first time"),
        pytest.param({"192.0.2.1": NOW - 60}, ["192.0.2.2"], {"192.0.2.1": NOW - 60, "192.0.2.2": NOW}, id="rotates"),
        pytest.param({"192.0.2.1": NOW - KEEP_S}, ["192.0.2.2"], {"192.0.2.2": NOW}, id="too old"),
        pytest.param({"192.0.2.1": NOW - 9 * KEEP_S}, [], {"192.0.2.1": NOW - 9 * KEEP_S}, id="no answer"),
        pytest.param({}, [], {}, id="never an answer"),
    ],
)
def test_keeps_addresses(before: dict[str, float], found: list[str], after: dict[str, float]) -> None:
    assert merged({"api.example.com": before}, {"api.example.com": found}, NOW) == {"api.example.com": after}


def test_a_provider_that_left_the_config_loses_its_addresses() -> None:
    assert merged({"old.example.com": {"192.0.2.1": NOW}}, {"api.example.com": []}, NOW) == {"api.example.com": {}}


def test_the_service_sees_the_newest_addresses() -> None:
    seen = {"api.example.com": {"192.0.2.1": NOW - 60, "192.0.2.2": NOW, "2001:db8::1": NOW}, "silent.example.com": {}}
    assert hosts_text(seen).splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost",
        "192.0.2.2 api.example.com",
        "2001:db8::1 api.example.com",
    ]


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"a": {"192.0.2.1": NOW}},
        {"a": {"2001:db8::1": NOW}},
        {"a": {"192.0.2.1": NOW}, "b": {"192.0.2.1": NOW, "2001:db8::1": NOW}},
    ],
)
def test_the_rules_are_valid(seen: dict[str, dict[str, float]]) -> None:
    text = rules_text("root", seen)
    for address in {each for addresses in seen.values() for each in addresses}:
        assert address in text
    subprocess.run(
        ["nft", "--check", "--file", "-"], input=text, text=True, check=True, env={"PATH": "/usr/sbin:/sbin"}
    )


@pytest.mark.parametrize(
    ("address", "well"),
    [
        ("203.0.113.9", True),
        ("2606:4700::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("10.0.0.5", True),
    ],
)
def test_a_name_cannot_open_the_way_to_this_host_or_to_metadata(address: str, well: bool) -> None:
    assert usable(address) == well
