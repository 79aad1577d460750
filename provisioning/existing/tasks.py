"""The tasks for hosts that exist already: `adopt`. fabfile.py takes them up."""

from typing import Any

from core.console import say
from provisioning.cli.task import fab_task

ADOPT = {
    "host": "Where it is: user@address or user@address:port; root, or a login with sudo without a password.",
    "name": "What it is called in files; none: from its address.",
    "identity-file": "Private key to log in with; none: the SSH agent and the usual files.",
    "ssh-config": "OpenSSH client config that leads there: jump hosts, aliases. Without it no config file is read.",
    "inventory": "File to write; none: hosts/<name>.yaml.",
    "host-key": "Fingerprint SHA256:… of the host's key, in place of the question.",
    "replace": "Write over a file that was edited.",
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
    """Look at a host that exists already and write its inventory; changes nothing there."""
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
