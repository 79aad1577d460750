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

END_OF_LIFE, INSTANCE_TAG = "end-of-life", "instance-tag"
"""Scripts of every host; each cloud has its own version of the second, which prints a tag of the instance."""

DATA_VOLUME, DATA_DEVICE = "data-volume", "data-device"
"""Scripts of a host with a data volume; each cloud has its own version of the second, which prints its device."""


def user_data(
    host: str,
    private_key: str,
    public_key: str,
    *,
    cloud_boot: Path,
    data_volume: bool = True,
    files: Mapping[str, str] | None = None,
) -> str:
    """Return the user data of a host; `cloud_boot` has its cloud's scripts, `files` are further files by path."""
    own = (END_OF_LIFE, *([DATA_VOLUME] if data_volume else []))
    of_cloud = (INSTANCE_TAG, *([DATA_DEVICE] if data_volume else []))
    scripts = [*(BOOT / f"{name}.sh" for name in own), *(cloud_boot / f"{name}.sh" for name in of_cloud)]
    units = [f"{END_OF_LIFE}.service", f"{END_OF_LIFE}.timer", *([f"{DATA_VOLUME}.service"] if data_volume else [])]
    mount = ["systemctl", "enable", "--now", "--no-block", f"llm-{DATA_VOLUME}.service"]
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
            *map(_unit, units),
            *({"path": path, "permissions": "0644", "content": content} for path, content in (files or {}).items()),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", f"llm-{END_OF_LIFE}.timer"],
            *([mount] if data_volume else []),
        ],
    }
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, width=4096)


def _script(path: Path) -> dict[str, Any]:
    return {"path": f"/usr/local/sbin/llm-{path.stem}", "permissions": "0755", "content": path.read_text()}


def _unit(name: str) -> dict[str, Any]:
    content = (BOOT / name).read_text()
    return {"path": f"/etc/systemd/system/llm-{name}", "permissions": "0644", "content": content}
