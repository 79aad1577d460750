"""The benchmark's resources for Ansible: a playbook in JSON, which is also YAML."""

import json
from typing import Any

from benchmarks.project.converge import resources


def playbook() -> str:
    """Return the playbook: 20 tasks, and Ansible's default of gathering facts first."""
    return json.dumps([{"hosts": "all", "become": True, "tasks": _tasks()}], indent=2, ensure_ascii=False)


def _tasks() -> list[dict[str, Any]]:
    group = resources.USER
    key, value = resources.SYSCTL
    keep = "/etc/sysctl.d/60-bench.conf"
    line = f"{key} = {value}"
    # ansible-core has no module for kernel settings; this task checks and changes one, like a module.
    sysctl = (
        f"grep -qsx '{line}' {keep} && [ \"$(sysctl -n {key})\" = '{value}' ] && exit 0;"
        f" echo '{line}' > {keep} && sysctl -q -w {key}={value} && echo changed"
    )
    user = {
        "name": resources.USER,
        "home": resources.HOME,
        "shell": "/usr/sbin/nologin",
        "system": True,
        "create_home": False,
    }
    folders = [
        {"ansible.builtin.file": {"path": path, "state": "directory", "owner": "root", "group": group, "mode": "0750"}}
        for path in resources.DIRECTORIES
    ]
    files = [
        {
            "ansible.builtin.copy": {
                "dest": path,
                "content": content,
                "owner": "root",
                "group": resources.file_group(path),
                "mode": f"{resources.file_mode(path):04o}",
            }
        }
        for path, content in resources.FILES.items()
    ]
    units = [
        {"ansible.builtin.systemd_service": {"name": unit, "state": "started", "enabled": True}}
        for unit in resources.UNITS
    ]
    return [
        {"ansible.builtin.apt": {"name": list(resources.PACKAGES), "state": "present"}},
        {"ansible.builtin.user": user},
        *folders,
        *files,
        {"ansible.builtin.shell": sysctl, "register": "sysctl", "changed_when": "sysctl.stdout == 'changed'"},
        *units,
    ]


SETTINGS = """\
[defaults]
host_key_checking = True
interpreter_python = /usr/bin/python3
stdout_callback = default
[connection]
pipelining = True
[ssh_connection]
pipelining = True
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes
control_path_dir = {folder}/control
"""
"""Ansible's defaults, plus pipelining and one SSH connection for the whole run."""
