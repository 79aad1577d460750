#!/usr/bin/env python3
"""Print as JSON which of the PORTs other firewalls of this host keep closed. Changes nothing.

    other-firewalls PORT…    {"closed_ports": [{"firewall": "ufw", "port": 443, "command": "ufw allow 443/tcp",
                             "lasting": true}, …]}

The kernel drops a packet if any table drops it, so our table cannot open a port that another firewall closes. `command`
opens the port for everyone; `lasting` is true if that survives a reboot.

Reads the rules of ufw, of firewalld's zone for the default route, and of input chains that drop by default. A rule
counts if it names the port, even if it is only for some addresses or interfaces.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

PROGRAM_S = 20
OURS = "llm_"
"""Prefix of this project's table names."""
IPTABLES = (("ip", "iptables", "ip_tables_names"), ("ip6", "ip6tables", "ip6_tables_names"))
"""Family, program, and the file of /proc/net that lists the loaded tables of legacy iptables."""
DEFAULT_ROUTE = "00000000"

UFW_RULE = re.compile(r"(?P<to>\S.*?)\s+(?P<action>ALLOW|LIMIT|DENY|REJECT)(?! +(?:OUT|FWD))(?: IN)?\s+(?P<source>.*)")
FILTERS_INPUT = re.compile(r"type filter hook input\b.*?;(?P<policy> policy \w+;)?")
NO_MATCH = r'(counter (packets \d+ bytes \d+ )?|log (prefix "[^"]*" )?(level \w+ )?(flags \w+ )?)*'
DROPS_ALL = re.compile(NO_MATCH + r'(drop|reject( with .*)?|xt target "(DROP|REJECT)")')
LETS_ALL_IN = re.compile(NO_MATCH + "accept")
NFT_PORTS = re.compile(r"\b(?:tcp|th) dport (?:vmap )?(?P<ports>\{[^}]*\}|[@\w-]+)")
NFT_VERDICT = re.compile(r"\b(accept|jump|goto|queue)\b|vmap @")
IPTABLES_PORTS = re.compile(r"(?<!! )--d(?:estination-)?ports? (?P<ports>\S+)")

os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def said(*argv: str) -> str:
    """Return a program's output; empty if it is missing or hangs."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROGRAM_S,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def has(words: str, port: int) -> bool:
    """Return whether `port` is among ports and ranges such as `80,443/tcp`, `{ 22, 8000-8100 }` and `1000:2000`."""
    numbers = re.findall(r"(?<![\w.])(\d+)(?:\s*[-:]\s*(\d+))?(?:/tcp)?(?![\w./])", words.replace(" : ", " "))
    return any(int(first) <= port <= int(last or first) for first, last in numbers)


def ufw_closes(status: str, port: int) -> bool:
    """Return whether ufw keeps `port` closed by the output of `ufw status verbose`. The first matching rule counts."""
    if "Status: active" not in status:
        return False
    for line in status.splitlines():
        found = UFW_RULE.match(line.partition("#")[0].strip())
        if found is None:
            continue
        to = re.sub(r"\([^)]*\)", "", found["to"]).partition(" on ")[0].split()[-1]
        opens = found["action"] in ("ALLOW", "LIMIT")
        for_all = found["source"].startswith("Anywhere") and " on " not in found["to"]
        names_it = has(to, port)
        if (names_it and (opens or for_all)) or (to in ("Anywhere", "Anywhere/tcp") and for_all):
            return not opens
    return re.search(r"^Default: allow \(incoming\)", status, re.MULTILINE) is None


def ufw(ports: Sequence[int]) -> list[dict[str, Any]] | None:
    """Return the ports that ufw keeps closed; None if it is not active."""
    status = said("ufw", "status", "verbose")
    if "Status: active" not in status:
        return None
    return [closed("ufw", port, f"ufw allow {port}/tcp", lasting=True) for port in ports if ufw_closes(status, port)]


def firewalld(ports: Sequence[int]) -> list[dict[str, Any]] | None:
    """Return the ports that firewalld keeps closed in the zone of the default route; None if it does not run."""
    if said("firewall-cmd", "--state").strip() != "running":
        return None
    zone = firewalld_zone()
    listing = said("firewall-cmd", f"--zone={zone}", "--list-all")
    names = {*field(listing, "services").split(), *re.findall(r'service name="([^"]+)"', listing)}
    services = {name: said("firewall-cmd", f"--info-service={name}") for name in sorted(names)}
    open_command = f"firewall-cmd --zone={zone} --add-port={{port}}/tcp"
    command = f"{open_command} && {open_command.replace('--zone', '--permanent --zone')}"
    return [
        closed(f"firewalld (zone {zone})", port, command.format(port=port), lasting=True)
        for port in ports
        if zone_closes(listing, services, port)
    ]


def firewalld_zone() -> str:
    """Return the zone of the default route's interface."""
    for interface in default_interfaces():
        zone = said("firewall-cmd", f"--get-zone-of-interface={interface}").strip()
        if re.fullmatch(r"[\w-]+", zone):
            return zone
    return said("firewall-cmd", "--get-default-zone").strip() or "public"


def default_interfaces() -> Iterator[str]:
    """Yield the interfaces of the default routes, IPv4 first."""
    for line in read("/proc/net/route").splitlines()[1:]:
        words = line.split()
        if words[1] == words[7] == DEFAULT_ROUTE:
            yield words[0]
    for line in read("/proc/net/ipv6_route").splitlines():
        words = line.split()
        if not words[0].strip("0") and words[1] == "00" and words[9] != "lo":
            yield words[9]


def zone_closes(listing: str, services: dict[str, str], port: int) -> bool:
    """Return whether a zone keeps `port` closed, by `--list-all` and the `--info-service` of each of its services."""
    if field(listing, "target") == "ACCEPT":
        return False
    rich = [line for line in listing.splitlines() if "rule " in line and line.rstrip().endswith("accept")]
    names = [*field(listing, "services").split(), *re.findall(r'service name="([^"]+)"', " ".join(rich))]
    opened = [field(listing, "ports"), *re.findall(r'port port="([^"]+)" protocol="tcp"', " ".join(rich))]
    opened += [field(services.get(name, ""), "ports") for name in names]
    return not has(" ".join(opened), port)


def field(listing: str, name: str) -> str:
    """Return the value of `name` in the output of firewall-cmd."""
    found = re.search(rf"^\s*{name}:[ \t]*(.*)$", listing, re.MULTILINE)
    return found[1].strip() if found else ""


def nft_closed(ruleset: str, skip: Iterable[str], ports: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Yield table, chain and port for each input chain that drops by default, if no rule of its table opens the port.

    `ruleset` is the output of `nft list ruleset`. Our own tables and those in `skip` are left out.
    """
    for table, body in re.findall(r"^table (\w+ \S+) \{\n(.*?)^\}", ruleset, re.MULTILINE | re.DOTALL):
        if table.split()[1].startswith(OURS) or table in skip or table.split()[0] not in ("inet", "ip", "ip6"):
            continue
        rules = [line.strip() for line in re.findall(r"^\t\t(?!\t)(.*)$", body, re.MULTILINE)]
        sets = dict(re.findall(r"^\t(?:set|map) (\S+) \{\n(.*?)^\t\}", body, re.MULTILINE | re.DOTALL))
        for chain, content in re.findall(r"^\tchain (\S+) \{\n(.*?)^\t\}", body, re.MULTILINE | re.DOTALL):
            if drops_by_default([line.strip() for line in content.splitlines() if line.strip()]):
                shut = (port for port in ports if not any(nft_opens(rule, sets, port) for rule in rules))
                yield from ((table, chain, port) for port in shut)


def drops_by_default(lines: Sequence[str]) -> bool:
    """Return whether the lines are an input chain that drops packets at its end."""
    found = [FILTERS_INPUT.match(line) for line in lines]
    hook = next((each for each in found if each), None)
    if hook is None or any(LETS_ALL_IN.fullmatch(line) for line in lines):
        return False
    return "drop" in (hook["policy"] or "") or DROPS_ALL.fullmatch(lines[-1]) is not None


def nft_opens(rule: str, sets: dict[str, str], port: int) -> bool:
    """Return whether a rule accepts packets to `port`, or passes them to another chain."""
    if not NFT_VERDICT.search(rule):
        return False
    for found in NFT_PORTS.finditer(rule):
        words = found["ports"]
        if has(sets.get(words[1:], "").partition("elements = ")[2] if words[0] == "@" else words, port):
            return True
    return False


def iptables_closes(saved: str, port: int) -> bool:
    """Return whether INPUT drops by default and no rule opens `port`, by the output of `iptables-save -t filter`."""
    rules = [line for line in saved.splitlines() if line.startswith("-A ")]
    inputs = [line for line in rules if line.startswith("-A INPUT ")]
    policy = re.search(r"^:INPUT (\w+)", saved, re.MULTILINE)
    ends = inputs and re.match(r"-A INPUT -j (DROP|REJECT)\b", inputs[-1])
    if policy is None or "-A INPUT -j ACCEPT" in inputs or not (policy[1] == "DROP" or ends):
        return False
    for rule in rules:
        goes = re.search(r" -[jg] (\S+)", rule)
        found = IPTABLES_PORTS.search(rule)
        lets_in = goes is not None and goes[1] not in ("DROP", "REJECT", "LOG", "NFLOG", "MARK")
        if found and lets_in and " -p tcp" in rule and has(found["ports"], port):
            return False
    return True


def iptables(ruleset: str, ports: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the ports that iptables rules keep closed. Queries loaded tables only, because a query loads its table."""
    for family, program, names in IPTABLES:
        legacy = "filter" in read(f"/proc/net/{names}").split()
        if not legacy and not has_input_table(ruleset, family):
            continue
        saved = (said(f"{program}-legacy-save", "-t", "filter") if legacy else "") or said(
            f"{program}-save", "-t", "filter"
        )
        for port in ports:
            if iptables_closes(saved, port):
                yield closed(program, port, f"{program} -I INPUT -p tcp --dport {port} -j ACCEPT", lasting=False)


def has_input_table(ruleset: str, family: str) -> bool:
    """Return whether the ruleset has a table of iptables that it can print: `filter` with a chain INPUT."""
    if shutil.which(f"{dict(row[:2] for row in IPTABLES)[family]}-save") is None:
        return False
    body = re.search(rf"^table {family} filter \{{\n(.*?)^\}}", ruleset, re.MULTILINE | re.DOTALL)
    return body is not None and "\tchain INPUT {" in body[1]


def others(ports: Sequence[int], *, skip_iptables: bool) -> Iterator[dict[str, Any]]:
    """Yield the ports that nftables and iptables chains keep closed. ufw and firewalld manage the iptables chains."""
    ruleset = said("nft", "--stateless", "list", "ruleset")
    kept_by_iptables = [f"{family} filter" for family in ("ip", "ip6") if has_input_table(ruleset, family)]
    for table, chain, port in nft_closed(ruleset, ["inet firewalld", *kept_by_iptables], ports):
        command = f"nft insert rule {table} {chain} tcp dport {port} accept"
        yield closed(f"nftables (table {table}, chain {chain})", port, command, lasting=False)
    if not skip_iptables:
        yield from iptables(ruleset, ports)


def closed(firewall: str, port: int, command: str, *, lasting: bool) -> dict[str, Any]:
    """Return one line of the answer."""
    return {"firewall": firewall, "port": port, "command": command, "lasting": lasting}


def words(firewall: str, port: int, command: str, *, lasting: bool) -> str:
    """Return one line of the answer for people."""
    kept = "" if lasting else " until that firewall loads its rules again, so add the rule to its files too"
    what = f"{firewall} is active and has no rule that opens port {port}: clients may be shut out"
    return f"{what}; `{command}` opens it{kept}"


def read(path: str) -> str:
    """Return the text of a kernel file; empty if it is missing."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def main(argv: Sequence[str]) -> int:
    """Print the answer."""
    ports = [int(word) for word in argv]
    managers = [found for found in (ufw(ports), firewalld(ports)) if found is not None]
    answer = [each for found in managers for each in found]
    print(json.dumps({"closed_ports": [*answer, *others(ports, skip_iptables=bool(managers))]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
