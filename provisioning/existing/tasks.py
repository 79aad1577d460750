"""The task `adopt` for existing hosts. fabfile.py imports it."""

from typing import Any

from core.console import say
from provisioning.cli.task import fab_task

ADOPT = {
    "host": "user@address or user@address:port; the user is root, or may use sudo without a password.",
    "name": "Name of the host and its file; default: from its address.",
    "identity-file": "Private key to log in with; default: the SSH agent and the usual files.",
    "ssh-config": "OpenSSH client config for this host (jump hosts, aliases); by default none is read.",
    "inventory": "File to write; default: hosts/<name>.yaml.",
    "host-key": "Fingerprint SHA256:… of the host's key, to be asked nothing.",
    "replace": "Overwrite a file that was edited.",
}


@fab_task(ADOPT)
def adopt(
    _: Any,
    *,
    host: str = "",
    name: str = "",
    identity_file: str = "",
    ssh_config: str = "",
    inventory: str = "",
    host_key: str = "",
    replace: bool = False,
) -> int:
    """Look at an existing host and write its inventory; changes nothing on the host."""
    say(f"→ adopt {host or 'a host'}")
    from provisioning.existing.adopt import AdoptOptions, adopt

    options = AdoptOptions(
        login=host,
        name=name,
        identity_file=identity_file,
        ssh_config=ssh_config,
        inventory=inventory,
        host_key=host_key,
        replace=replace,
    )
    return adopt(options)
