"""A machine without a way to the internet, and how a bundle is copied to it and installed there."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.clouds.local.parts.network import RANGE
from infra.contract.outputs import HostRecord
from provisioning.offline.bundle import Made
from provisioning.operate.shell import ssh_arguments
from provisioning.ssh.known_hosts import known_hosts_text
from provisioning.ssh.target import SshTarget
from tests.machine.converge_host import remote
from tests.slowness import patient

POLLS = 6000
"""At most ten a second. The watch ends with the installer anyway; 600 polls were too few on a loaded machine."""

CUT_OFF = """
setsid {install} > {log} 2>&1 < /dev/null &
group=$!
for _ in $(seq {polls}); do
  if {moment}; then
    kill -KILL -$group  # dash takes no --
    echo killed
    break
  fi
  kill -0 $group || break
  sleep 0.1
done
wait $group || true
"""


@dataclass(frozen=True)
class OfflineHost:
    """The machine: only the one that tests run on, and other machines there, can reach it."""

    record: HostRecord

    def isolate(self) -> None:
        """Replace its default route by one to the other machines here."""
        self.run(f"ip route add {RANGE} $(ip route show default | cut -d' ' -f2-) && ip route del default")
        self.check_isolation()

    def check_isolation(self) -> None:
        """Fail if there is a default route: it must stay removed after reboots."""
        assert "default" not in self.run("ip route; ip -6 route")

    def run(self, command: str) -> str:
        """Return what a command of root's prints."""
        return remote(self.record, command)

    def send(self, file: Path, command: str, folder: Path) -> None:
        """Hand a file to a command on the host, on its stdin; `folder` is for what SSH needs."""
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(known_hosts_text((SshTarget.of(self.record),)))
        with file.open("rb") as stream:
            subprocess.run(
                ssh_arguments(SshTarget.of(self.record), known_hosts, command),
                stdin=stream,
                check=True,
                timeout=patient(120),
            )

    def bring(self, bundle: Made, folder: Path) -> None:
        """Copy archive and the host's secrets to the host, as a person does, and unpack."""
        self.send(bundle.archive, "tar -xf -", folder)
        secrets = bundle.secrets.get(self.record.name)
        if secrets:
            self.send(secrets, f"umask 77; cat > {secrets.name}", folder)

    def install(self, bundle: Made) -> str:
        """Run the installer; return its output and status."""
        return self.run(f'{self._command(bundle)} 2>&1; echo "status $?"')

    def install_cut_off(self, bundle: Made, moment: str) -> str:
        """Kill the installer and its process group when `moment`, a shell test, is true.

        Returns the output until then; `moment` can `grep` it in the file $log.
        """
        log = f"/home/{self.record.user}/install.log"
        script = CUT_OFF.format(install=self._command(bundle), log=log, moment=moment, polls=POLLS)
        said = self.run(f"log={log}; rm -f $log\n{script}")
        assert said == "killed\n", f"{said}: the installer ended before: {self.run(f'tail -c 3000 {log}')}"
        return self.run(f"cat {log}")

    def _command(self, bundle: Made) -> str:
        home = f"/home/{self.record.user}"
        file = bundle.secrets.get(self.record.name)
        secrets = f" --secrets {home}/{file.name}" if file else ""
        which = f" --host {self.record.name}" if bundle.hosts > 1 else ""
        return f"{home}/{bundle.archive.stem}/install.sh --manifest {bundle.manifest_sha256}{which}{secrets}"
