"""Makes and removes a machine's network in an empty namespace, and prints its observations as JSON.

A program that `unshare --net --mount` starts: its firewall drops all that is forwarded, as Docker's does, and the real
one of this host is out of reach.
"""

import json
import subprocess
import sys
from typing import Any

from infra.clouds.local.parts import host, network, record
from infra.clouds.local.parts.network import FORWARD_SWITCH, Network

FIREWALL = """
table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
  }
}
table inet open {
  chain forward {
    type filter hook forward priority filter; policy accept;
  }
}
"""


def seen() -> dict[str, Any]:
    """Return what there is of a network."""
    return {
        "forwarding": FORWARD_SWITCH.read_text().strip(),
        "filter": host.run("nft", "list", "table", "ip", "filter"),
        "open": host.run("nft", "list", "table", "inet", "open"),
        "tables": host.run("nft", "list", "tables").splitlines(),
        "links": [link["ifname"] for link in json.loads(host.run("ip", "-json", "link"))],
        "namespaces": host.run("ip", "netns", "list").split(),
    }


def main() -> None:
    """Look, make it twice, look, remove it twice, look."""
    for mount in ("sysfs /sys", "tmpfs /run", "tmpfs /var/lib"):
        kind, where = mount.split()
        subprocess.run(("mount", "-t", kind, "none", where), check=True)
    host.run("nft", "-f", "-", stdin=FIREWALL)
    FORWARD_SWITCH.write_text("0\n")
    looks = [seen()]
    record.MachineRecord(
        id="0000002a", owner="/", stack="test", name="one", memory_mib=1, cpus=1, public_keys=()
    ).save()
    net = Network("0000002a", 42)
    net.up()
    net.up()
    looks.append(seen())
    net.down()
    net.down()
    network.restore_forwarding()  # a machine is left
    looks.append(seen())
    record.remove("0000002a")
    network.restore_forwarding()
    looks.append(seen())
    json.dump(looks, sys.stdout)


if __name__ == "__main__":
    main()
