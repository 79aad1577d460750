"""Keeps this project's nftables tables in the kernel: the program that loads them, a timer, a drop-in.

`nft flush ruleset`, and a restart of Debian's nftables.service, remove every table of the host, while the units that
loaded them stay active. The firewall and the engine's guard write the tables.
"""

from provisioning.converge.resources import Command, Directory, File, Resource, Unit
from provisioning.programs import program
from provisioning.roles.host.layout import LIB_DIR, NFT_RULES
from provisioning.templates.render import render

SERVICE = "llm-nft-watch.service"
TIMER = "llm-nft-watch.timer"
DROP_IN = "/etc/systemd/system/nftables.service.d/50-llm-deploy.conf"

READ = ("sh", "-c", '[ "$(systemctl show --property=NeedDaemonReload --value nftables.service)" = no ]')
"""Whether systemd has read the drop-in. The unit belongs to Debian: it is neither enabled nor started here."""

PROGRAM = File(path=NFT_RULES, content=program("firewall/nft_rules"), mode=0o755)


def nft_watch() -> list[Resource]:
    """Return the program, the timer and the drop-in; the same for every role."""
    words = {"role": "base", "program": NFT_RULES}
    service = File(path=f"/etc/systemd/system/{SERVICE}", content=render("nft-watch.service.j2", **words))
    timer = File(path=f"/etc/systemd/system/{TIMER}", content=render("nft-watch.timer.j2", **words))
    drop_in = File(path=DROP_IN, content=render("nftables-drop-in.conf.j2", **words), after=(PROGRAM.id,))
    read = Command(name="nftables-drop-in", argv=("systemctl", "daemon-reload"), check=READ, after=(drop_in.id,))
    needed = (service.id, timer.id)
    unit = Unit(name=TIMER, restart_on=(timer.id,), after=(PROGRAM.id, *needed))
    return [Directory(path=LIB_DIR), PROGRAM, service, timer, drop_in, read, unit]


def loaded(name: str, rules: str, table: str, after: tuple[str, ...]) -> Command:
    """Return the command that reloads a table which the kernel has lost."""
    words = (rules, table)
    return Command(name=name, argv=(NFT_RULES, "load", *words), check=(NFT_RULES, "check", *words), after=after)
