"""Firewall rules of an existing network or its organisation that let in traffic which the stack's rules refuse.

The stack's rules apply to one service account and come before those of most networks (firewall.py). Rules with a higher
priority belong to the network's owner: they are reported and not changed.
"""

from collections.abc import Iterator
from typing import Any

from infra.clouds.gcp.api.client import ask
from infra.clouds.gcp.program import priorities

BEFORE_RULES = "BEFORE_CLASSIC_FIREWALL"
"""The order of a network whose policies come before the rules. In the other order, the stack's rules decide."""

ANY_PORT = "any"


def open_before_ours(project: str, network: str) -> Iterator[str]:
    """Yield a text for each rule that opens a port of every machine in a network, before the stack's deny rule."""
    effective = ask("Networks", "get_effective_firewalls", project=project, network=network)
    for rule in effective.firewalls:
        opens = rule.direction == "INGRESS" and not rule.disabled and rule.allowed
        if opens and rule.priority < priorities.DENY and not (rule.target_tags or rule.target_service_accounts):
            # Google's client has this name for IPProtocol.
            ports = _ports((str(each.I_p_protocol), each.ports) for each in rule.allowed)
            yield _sentence(f"{rule.name} (priority {rule.priority})", ports, rule.source_ranges)
    policies = [each for each in effective.firewall_policys if each.rules]
    order = _order(project, network) if policies else ""
    for policy in policies:
        if policy.type_ == "NETWORK" and order != BEFORE_RULES:
            continue
        for rule in policy.rules:
            if _lets_in(rule):
                ports = _ports((str(each.ip_protocol), each.ports) for each in rule.match.layer4_configs)
                yield _sentence(f"{_name(policy)} (policy, {rule.priority})", ports, rule.match.src_ip_ranges)


def _order(project: str, network: str) -> str:
    return str(ask("Networks", "get", project=project, network=network).network_firewall_policy_enforcement_order)


def _lets_in(rule: Any) -> bool:
    """Return whether a rule of a policy opens a port of every machine."""
    is_for_some = rule.target_service_accounts or rule.target_secure_tags
    return bool(rule.direction == "INGRESS" and rule.action == "allow" and not rule.disabled and not is_for_some)


def _name(policy: Any) -> str:
    return str(policy.short_name or policy.display_name or policy.name)


def _ports(openings: Any) -> str:
    return ", ".join(f"{protocol} {' '.join(ports) or ANY_PORT}" for protocol, ports in openings)


def _sentence(name: str, ports: str, ranges: Any) -> str:
    return f"{name} lets in {ports} from {', '.join(ranges) or 'the sources that it names'}"
