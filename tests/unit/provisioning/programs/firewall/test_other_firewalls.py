"""A host's own firewalls that keep the gateway's port closed, in the output of ufw, firewalld, nft and iptables."""

import contextlib
import json
from typing import Any

import pytest

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.apply import closed_port
from provisioning.converge.result import HostResult, Outcome
from provisioning.existing.verdict import notes, plan
from provisioning.hosts.facts import HostFacts
from provisioning.operate import status as status_module
from provisioning.operate.status_screen import screen
from provisioning.programs.firewall import other_firewalls
from tests.unit.provisioning.existing.test_verdict import MACHINE
from tests.unit.provisioning.operate.test_status import report, status
from tests.unit.provisioning.records import host_values, stack

UFW = """\
Status: active
Logging: on (low)
Default: {default} (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW IN    Anywhere
{rule}
22/tcp (v6)                ALLOW IN    Anywhere (v6)
"""

UFW_RULES = [
    ("", True),
    ("443/tcp                    ALLOW IN    Anywhere", False),
    ("443                        ALLOW IN    10.0.0.0/8                 # office", False),
    ("443/tcp                    LIMIT IN    Anywhere", False),
    ("80,443/tcp (Nginx Full)    ALLOW IN    Anywhere", False),
    ("400:500/tcp                ALLOW IN    Anywhere", False),
    ("10.0.0.4 443/tcp           ALLOW IN    Anywhere", False),
    ("443/udp                    ALLOW IN    Anywhere", True),
    ("4430/tcp                   ALLOW IN    Anywhere", True),
    ("443/tcp                    ALLOW OUT   Anywhere", True),
    ("443/tcp on wg0             ALLOW FWD   Anywhere on eth0", True),
    ("443/tcp                    DENY IN     Anywhere", True),
    ("Anywhere                   ALLOW IN    Anywhere", False),
    ("Anywhere on wg0            ALLOW IN    Anywhere", True),
    ("Anywhere                   ALLOW IN    10.0.0.0/8", True),
]


@pytest.mark.parametrize(("rule", "closes"), UFW_RULES, ids=[rule or "no rule" for rule, _ in UFW_RULES])
def test_ufw_closes_ports_without_a_rule(rule: str, closes: bool) -> None:
    assert other_firewalls.ufw_closes(UFW.format(default="deny", rule=rule), 443) is closes
    denied = closes and "DENY" in rule
    assert other_firewalls.ufw_closes(UFW.format(default="allow", rule=rule), 443) is denied
    assert not other_firewalls.ufw_closes("Status: inactive\n", 443)


ZONE = """\
public (active)
  target: {target}
  interfaces: eth0
  sources:
  services: dhcpv6-client ssh{services}
  ports:{ports}
  protocols:
  forward-ports:
  source-ports:
  rich rules:
{rich}
"""
SERVICES = {"ssh": "ssh\n  ports: 22/tcp\n  protocols:\n", "https": "https\n  ports: 443/tcp\n  protocols:\n"}
FROM_OFFICE = '\trule family="ipv4" source address="10.0.0.0/8" '

ZONES = {
    "as installed": ({}, True),
    "a port": ({"ports": " 8080/tcp 443/tcp"}, False),
    "a range": ({"ports": " 400-500/tcp"}, False),
    "UDP": ({"ports": " 443/udp"}, True),
    "a service": ({"services": " https"}, False),
    "trusted": ({"target": "ACCEPT"}, False),
    "a rich rule": ({"rich": FROM_OFFICE + 'port port="443" protocol="tcp" accept'}, False),
    "a rich rule for a service": ({"rich": FROM_OFFICE + 'service name="https" accept'}, False),
    "a rich rule that rejects": ({"rich": FROM_OFFICE + 'port port="443" protocol="tcp" reject'}, True),
}


@pytest.mark.parametrize(("values", "closes"), ZONES.values(), ids=ZONES)
def test_firewalld_closes_ports_that_its_zone_does_not_open(values: dict[str, str], closes: bool) -> None:
    listing = ZONE.format(**{"target": "default", "services": "", "ports": "", "rich": "", **values})
    assert other_firewalls.zone_closes(listing, SERVICES, 443) is closes


RULESET = """\
table inet {name} {{
	set open_ports {{
		type inet_service
		flags interval
		elements = {{ 22, 80,
				400-500 }}
	}}

	chain input {{
		type filter hook input priority filter; policy {policy};
		iifname "lo" accept
		ct state established,related accept
		{rule}
	}}

	chain forward {{
		type filter hook forward priority filter; policy drop;
	}}
}}
table inet llm_deploy {{
	chain input {{
		type filter hook input priority filter; policy drop;
		tcp dport 22 accept
	}}
}}
"""

NFT_RULES = {
    "SSH only": ("drop", "tcp dport 22 accept", True),
    "open by default": ("accept", "tcp dport 22 accept", False),
    "rejects at the end": ("accept", "counter reject with icmpx admin-prohibited", True),
    "logs and drops at the end": ("accept", 'counter log prefix "x: " level info drop', True),
    "drops some at the end": ("accept", "ct state invalid drop", False),
    "the port": ("drop", "tcp dport 443 accept", False),
    "a set": ("drop", "ip saddr 10.0.0.0/8 tcp dport { 22, 443 } counter accept", False),
    "a named set": ("drop", "tcp dport @open_ports accept", False),
    "a range": ("drop", "tcp dport 1-1023 jump services", False),
    "a map": ("drop", "tcp dport vmap { 22 : accept, 443 : accept }", False),
    "not the port": ("drop", "tcp dport != 443 accept", True),
    "a drop of the port": ("accept", "tcp dport 443 drop", False),
    "UDP": ("drop", "udp dport 443 accept", True),
    "all": ("drop", "counter accept", False),
}


@pytest.mark.parametrize(("policy", "rule", "closes"), NFT_RULES.values(), ids=NFT_RULES)
def test_a_chain_that_drops_by_default_closes_ports_that_its_table_does_not_open(
    policy: str, rule: str, closes: bool
) -> None:
    ruleset = RULESET.format(name="filter", policy=policy, rule=rule)
    found = list(other_firewalls.nft_closed(ruleset, [], [443]))
    assert found == ([("inet filter", "input", 443)] if closes else [])
    assert list(other_firewalls.nft_closed(ruleset, ["inet filter"], [443])) == []


SAVED = "*filter\n:INPUT {policy} [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"
SSH_RULE = "-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n"
REJECT = "-A INPUT -j REJECT --reject-with icmp-host-prohibited\n"

IPTABLES_RULES = {
    "drops by policy": ("DROP", SSH_RULE, True),
    "open": ("ACCEPT", SSH_RULE, False),
    "a cloud's image that rejects at the end": ("ACCEPT", SSH_RULE + REJECT, True),
    "the port": ("DROP", SSH_RULE.replace("22", "443"), False),
    "several": ("DROP", "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT\n", False),
    "in another chain": ("DROP", "-A INPUT -j web\n-A web -p tcp -m tcp --dport 400:500 -j ACCEPT\n", False),
    "UDP": ("DROP", "-A INPUT -p udp -m udp --dport 443 -j ACCEPT\n", True),
    "logged only": ("DROP", "-A INPUT -p tcp -m tcp --dport 443 -j LOG\n", True),
    "all": ("DROP", "-A INPUT -j ACCEPT\n", False),
}


@pytest.mark.parametrize(("policy", "rules", "closes"), IPTABLES_RULES.values(), ids=IPTABLES_RULES)
def test_iptables_closes_ports_without_a_rule(policy: str, rules: str, closes: bool) -> None:
    assert other_firewalls.iptables_closes(SAVED.format(policy=policy, rules=rules), 443) is closes
    assert not other_firewalls.iptables_closes("", 443)


ANSWERS = {
    ("ufw", "status", "verbose"): UFW.format(default="deny", rule=""),
    ("firewall-cmd", "--state"): "running\n",
    ("firewall-cmd", "--get-default-zone"): "public\n",
    ("firewall-cmd", "--zone=public", "--list-all"): ZONE.format(target="default", services="", ports="", rich=""),
    ("nft", "--stateless", "list", "ruleset"): RULESET.format(name="site", policy="drop", rule="udp dport 53 accept"),
}


def test_each_firewall_is_named_with_the_command_that_opens_the_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After provisioning, ufw and firewalld kept clients out, and neither adopt nor status named them."""
    monkeypatch.setattr(other_firewalls, "said", lambda *argv: ANSWERS.get(argv, ""))
    other_firewalls.main(["443", "8443"])
    closed = json.loads(capsys.readouterr().out)["closed_ports"]
    assert [(each["firewall"], each["command"]) for each in closed if each["port"] == 8443] == [
        ("ufw", "ufw allow 8443/tcp"),
        (
            "firewalld (zone public)",
            "firewall-cmd --zone=public --add-port=8443/tcp && "
            "firewall-cmd --permanent --zone=public --add-port=8443/tcp",
        ),
        (
            "nftables (table inet site, chain input)",
            "nft insert rule inet site input tcp dport 8443 accept",
        ),
    ]
    facts = HostFacts.model_validate({**MACHINE, "closed_ports": closed})
    reported = list(notes(facts, plan(facts)))
    assert len(reported) == 3
    assert reported[0].startswith(
        "ufw is active and has no rule that opens port 443: clients may be shut out; `ufw allow"
    )
    shown = screen(status(closed_ports=[each for each in closed if each["port"] == 443]))
    assert all(f"! firewall           {words}" in shown for words in reported)


def test_a_host_without_other_firewalls_is_not_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(other_firewalls, "said", lambda *_: "")
    other_firewalls.main(["443"])
    assert json.loads(capsys.readouterr().out) == {"closed_ports": []}
    assert "! firewall " not in screen(status(closed_ports=[]))


RUNS = {
    "the gateway started": ("existing", "unit:haproxy.service", False, True),
    "not reached": ("existing", "unit:haproxy.service", True, False),
    "only the engine started": ("existing", "unit:vllm.service", False, False),
    "a cloud machine": ("aws", "unit:haproxy.service", False, False),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_provision_that_starts_the_gateway_names_firewalls_that_block_clients(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cloud, unit, fails, reported = RUNS[name]

    def answer(_: object, host: HostRecord, *_words: str) -> dict[str, Any]:
        if fails:
            raise HostError("was cut", where=host.name)
        return {"closed_ports": [other_firewalls.closed("ufw", 443, "ufw allow 443/tcp", lasting=True)]}

    monkeypatch.setattr(closed_port, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(closed_port, "ask_program", answer)
    result = HostResult(host="one", ok=True, changed=(Outcome(id=unit, status="changed"),))
    closed_port.mention_closed_port(stack(host_values(cloud=cloud)), {"one": result}, at_once=2)
    assert capsys.readouterr().err.startswith("! one: ufw is active") is reported


@pytest.mark.parametrize(
    ("cloud", "fails", "unseen"),
    [("existing", False, {}), ("existing", True, {"other_firewalls": "was cut"}), ("aws", True, {})],
    ids=["asked", "asked in vain", "a cloud machine is not asked"],
)
def test_status_checks_hosts_that_may_have_another_firewall(
    monkeypatch: pytest.MonkeyPatch, cloud: str, fails: bool, unseen: dict[str, str]
) -> None:
    entry = other_firewalls.closed("ufw", 443, "ufw allow 443/tcp", lasting=True)

    def answer(_: object, host: HostRecord, name: str, *words: str) -> dict[str, Any]:
        if name == "host/status_report":
            return report(unseen={})
        assert (name, words) == ("firewall/other_firewalls", ("443",))
        if fails:
            raise HostError("was cut", where=host.name)
        return {"closed_ports": [entry]}

    monkeypatch.setattr(status_module, "ask_program", answer)
    outputs = stack(host_values(cloud=cloud))
    nothing: Any = None
    seen = status_module.ask(nothing, outputs, outputs.hosts[0], whole=True)
    assert len(seen.closed_by) == (cloud == "existing" and not fails)
    assert seen.unseen == unseen
    assert status_module.ask(nothing, outputs, outputs.hosts[0]).closed_by == ()  # during the wait for a restart
