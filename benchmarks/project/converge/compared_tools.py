"""The tools to compare: how each is installed, and the command line that a user would run."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.project.converge.ansible_playbook import SETTINGS, playbook
from benchmarks.project.environments import environment
from core.paths import CHECKOUT
from infra.contract.outputs import HostRecord
from provisioning.ssh.known_hosts import known_hosts_text
from provisioning.ssh.target import SshTarget

HERE = Path(__file__).parent
LOCKS = HERE / "locks"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One command line with its environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that applies the benchmark's resources to a host."""

    name: str
    run: Callable[[HostRecord, Path], Run]
    """Returns the command line for a host; the second argument is a folder for files."""
    end: Callable[[HostRecord, Path], Run] | None = None
    """Ends the processes that a run leaves behind, because they would make the next run faster."""


def ssh_argv(host: HostRecord, folder: Path) -> list[str]:
    """Return an ssh command line to the host, with strict host keys and without the user's settings."""
    return [
        "ssh", "-F", "none", "-i", str(host.identity_file), "-p", str(host.ssh_port), "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile={known_hosts(host, folder)}", f"{host.user}@{host.address}",
    ]  # fmt: skip


def known_hosts(host: HostRecord, folder: Path) -> Path:
    """Write a known_hosts file with the host's keys and return its path."""
    path = folder / f"known_hosts.{host.ssh_port}"
    path.write_text(known_hosts_text((SshTarget.of(host),)))
    return path


def _ours(host: HostRecord, folder: Path) -> Run:
    inventory = folder / f"inventory.{host.ssh_port}.json"
    serving = '{"model": {"name": "m", "source": {"kind": "tiny", "name": "llama"}}}'
    inventory.write_text(f'{{"stack": "bench", "hosts": [{host.model_dump_json()}], "serving": {serving}}}')
    fab = Path(sys.executable).parent / "fab"
    argv = [str(fab), "-r", str(HERE), "provision", "--inventory", str(inventory)]
    return Run(argv=argv, env={"LLM_DEPLOY_RUNS": str(folder / "runs"), "PYTHONPATH": str(CHECKOUT)})


def _pyinfra(host: HostRecord, folder: Path, program: tuple[str, ...] = ("-m", "pyinfra")) -> Run:
    data = {
        "ssh_port": host.ssh_port,
        "ssh_user": host.user,
        "ssh_key": str(host.identity_file),
        "ssh_known_hosts_file": str(known_hosts(host, folder)),
        "ssh_strict_host_key_checking": "yes",
    }
    inventory = folder / f"inventory_{host.ssh_port}.py"
    inventory.write_text(f"hosts = [({host.address!r}, {data!r})]\n")
    python = environment(LOCKS / "pyinfra.txt") / "bin" / "python"
    return Run(argv=[str(python), *program, "-y", str(inventory), str(HERE / "pyinfra_deploy.py")])


def _pyinfra_no_delay(host: HostRecord, folder: Path) -> Run:
    return _pyinfra(host, folder, (str(HERE / "pyinfra_no_delay.py"),))


def _ansible(host: HostRecord, folder: Path) -> Run:
    (folder / "playbook.json").write_text(playbook())
    (folder / "ansible.cfg").write_text(SETTINGS.format(known_hosts=known_hosts(host, folder), folder=folder))
    login = f"ansible_host={host.address} ansible_port={host.ssh_port} ansible_user={host.user}"
    (folder / "hosts.ini").write_text(f"{host.name} {login} ansible_ssh_private_key_file={host.identity_file}\n")
    program = environment(LOCKS / "ansible.txt") / "bin" / "ansible-playbook"
    argv = [str(program), "-i", str(folder / "hosts.ini"), str(folder / "playbook.json")]
    return Run(argv=argv, env={"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible")})


def _end_ansible(host: HostRecord, folder: Path) -> Run:
    """Close the connection that Ansible keeps for a minute. Users rarely provision twice within a minute."""
    close = f"for s in {folder}/control/*; do ssh -F none -O exit -o ControlPath=$s {host.name}; done"
    return Run(argv=["sh", "-c", close])


OURS = Tool(name="llm-deploy", run=_ours)
PYINFRA = Tool(name="pyinfra", run=_pyinfra)
PYINFRA_NO_DELAY = Tool(name="pyinfra, TCP_NODELAY", run=_pyinfra_no_delay)
ANSIBLE = Tool(name="Ansible", run=_ansible, end=_end_ansible)
TOOLS = (OURS, PYINFRA, PYINFRA_NO_DELAY, ANSIBLE)


def version(name: str) -> str:
    """Return the version of a tool in its lock."""
    first = {"pyinfra": "pyinfra==", "ansible": "ansible-core=="}[name]
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    return next(line.split()[0].removeprefix(first) for line in lines if line.startswith(first))
