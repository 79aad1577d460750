"""User data for cloud-init at a host's first boot: its name and host key, its end of life, its data volume.

It has no value that changes while the host exists: the scripts read such values from the instance's tags or metadata. A
change of user data would stop the host, or replace it. Each cloud's own scripts are in its folder `boot/`. Installs no
software: roles do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

BOOT = Path(__file__).parent / "boot"

SCRIPTS = ("end-of-life", "data-volume")
CLOUD_SCRIPTS = ("instance-tag", "data-device")
"""Scripts that each cloud has its own version of: one prints a tag of the instance, one the data volume's device."""

UNITS = ("end-of-life.service", "end-of-life.timer", "data-volume.service")


def user_data(
    host: str, private_key: str, public_key: str, *, cloud_boot: Path, files: Mapping[str, str] | None = None
) -> str:
    """Return the user data of a host; `cloud_boot` has its cloud's scripts, `files` are further files by path."""
    scripts = [*(BOOT / f"{name}.sh" for name in SCRIPTS), *(cloud_boot / f"{name}.sh" for name in CLOUD_SCRIPTS)]
    config = {
        "hostname": host,
        "manage_etc_hosts": True,
        "ssh_pwauth": False,
        "disable_root": True,
        "ssh_deletekeys": True,  # the image's own keys are removed; the next lines add ours
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": private_key, "ed25519_public": f"{public_key} {host}"},
        "write_files": [
            *map(_script, scripts),
            *map(_unit, UNITS),
            *({"path": path, "permissions": "0644", "content": content} for path, content in (files or {}).items()),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "llm-end-of-life.timer"],
            ["systemctl", "enable", "--now", "--no-block", "llm-data-volume.service"],
        ],
    }
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, width=4096)


def _script(path: Path) -> dict[str, Any]:
    return {"path": f"/usr/local/sbin/llm-{path.stem}", "permissions": "0755", "content": path.read_text()}


def _unit(name: str) -> dict[str, Any]:
    content = (BOOT / name).read_text()
    return {"path": f"/etc/systemd/system/llm-{name}", "permissions": "0644", "content": content}
