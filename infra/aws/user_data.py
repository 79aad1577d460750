"""What a host does at its first boot, as cloud-init takes it: its name and host key, its end of life, its data volume.

Holds nothing that changes while the host lives: that is in the instance's tags, which the scripts in boot/ ask for. So
user data never has to change, which would mean a stop at best and a new host at worst. Installs no software: roles do.
"""

from pathlib import Path
from typing import Any

import yaml

BOOT = Path(__file__).parent / "boot"
MAX_BYTES = 16384
"""What EC2 takes; a test sees to it that the scripts do not outgrow it."""

SCRIPTS = ("instance-tag", "end-of-life", "data-volume")
UNITS = ("end-of-life.service", "end-of-life.timer", "data-volume.service")


def user_data(host: str, private_key: str, public_key: str) -> str:
    """Return the user data of a host."""
    config = {
        "hostname": host,
        "manage_etc_hosts": True,
        "ssh_pwauth": False,
        "disable_root": True,
        "ssh_deletekeys": True,  # those of the image; the next lines say which to have instead
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": private_key, "ed25519_public": f"{public_key} {host}"},
        "write_files": [*map(_script, SCRIPTS), *map(_unit, UNITS)],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "llm-end-of-life.timer"],
            ["systemctl", "enable", "--now", "--no-block", "llm-data-volume.service"],
        ],
    }
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, width=4096)


def _script(name: str) -> dict[str, Any]:
    content = (BOOT / f"{name}.sh").read_text()
    return {"path": f"/usr/local/sbin/llm-{name}", "permissions": "0755", "content": content}


def _unit(name: str) -> dict[str, Any]:
    content = (BOOT / name).read_text()
    return {"path": f"/etc/systemd/system/llm-{name}", "permissions": "0644", "content": content}
