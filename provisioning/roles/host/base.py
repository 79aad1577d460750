"""What every host gets: packages, clock, security updates, service user, swap, journal limits, sshd, firewall.

Knows no engine and no model. A container shares its kernel, so it gets no swap, clock or kernel setting.
"""

from catalog.clouds import MADE, RENTED
from infra.contract.outputs import HostRecord
from provisioning.converge.proxy import apt_file
from provisioning.converge.resources import Command, File, Packages, Resource, SshdFile, Swap, Sysctl, Unit, User
from provisioning.roles.host import firewall
from provisioning.roles.host.forwarded_ports import forwarded_ports
from provisioning.roles.host.layout import SERVICE_USER
from provisioning.roles.host.sshd_check import first_file_check
from provisioning.roles.host.sshd_settings import sshd_settings
from provisioning.templates.render import render
from serving.spec.models import GatewaySpec

PACKAGES = ("ca-certificates", "curl", "iproute2", "nftables", "unattended-upgrades")

CLOCK_UNITS = ("systemd-timesyncd.service", "chrony.service", "ntpsec.service")

DATA_VOLUME_S = 900
"""The same as the unit's TimeoutStartSec."""

SOURCE = 'findmnt -nro SOURCE --mountpoint "$1"'
FILLS_DEVICE = f"""
device=$({SOURCE}) && [ "$(findmnt -nro FSTYPE --mountpoint "$1")" = ext4 ] || exit 0
head=$(dumpe2fs -h "$device" 2>/dev/null)
blocks=$(printf %s "$head" | sed -n 's/^Block count: *//p')
size=$(printf %s "$head" | sed -n 's/^Block size: *//p')
[ $(($(blockdev --getsize64 "$device") - blocks * size)) -lt {128 * 1024**2} ]
"""
"""Whether a file system fills its volume, up to one group of blocks. A running host grows it only at its next boot. A
file system that is not mounted yet is grown when it is mounted."""

SWAP_BELOW_GIB = 16
"""A host with less memory gets swap for the difference: loading a model briefly takes more memory than serving it."""

MAX_SWAP_GIB = 8

SYSCTLS = {
    "vm.swappiness": "10",  # swap is for the peak while a model loads, not for pages that a serving engine uses
    "net.ipv4.tcp_slow_start_after_idle": "0",  # else a stream that pauses between tokens starts slowly again
    "kernel.panic": "10",  # a host reboots this many seconds after a kernel panic
}

JOURNAL_LIMITS = """\
# Written by llm-deploy (base role).
[Journal]
Storage=persistent
SystemMaxUse=500M
SystemKeepFree=1G
MaxRetentionSec=1month
"""

UPGRADE_DAILY = """\
// Written by llm-deploy (base role).
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""

UPGRADE_POLICY = """\
// Written by llm-deploy (base role). What is upgraded stands in 50unattended-upgrades: security updates.
// `make reboot` reboots when it suits you; `make status` says when a reboot is due.
Unattended-Upgrade::Automatic-Reboot "false";
Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";
"""


SSHD_FILE = "/etc/ssh/sshd_config.d/10-llm-deploy.conf"


def base(host: HostRecord, gateway: GatewaySpec, gateway_host: HostRecord | None = None) -> list[Resource]:
    """Return what `host` needs before any engine, in working order.

    `gateway_host` is the host with the gateway in front of this one, if it has none.
    """
    return [
        *_data_volume(host),
        apt_file(host),
        Packages(name="base", present=PACKAGES),
        User(name=SERVICE_USER),
        *_journal(),
        *_security_updates(),
        *([] if host.virtualization == "container" else [*_clock(), *_memory(host), *_kernel()]),
        *_sshd(host, gateway),
        *firewall.resources(host, gateway, gateway_host),
    ]


def _data_volume(host: HostRecord) -> list[Resource]:
    """Return the mounted data volume of a cloud host; it may be attached after the first login.

    A cloud machine from an inventory has no such unit and needs none.
    """
    if host.cloud not in RENTED:
        return []
    unit = "llm-data-volume.service"
    settled = 'mountpoint --quiet "$1" || ! systemctl cat "$2" >/dev/null 2>&1'
    return [
        Command(
            name="data-volume",
            argv=("systemctl", "start", unit),  # returns once it is mounted
            check=("sh", "-c", settled, "data-volume", host.data_dir, unit),
            timeout_s=DATA_VOLUME_S,
        ),
        Command(
            name="data-volume-size",
            argv=("sh", "-c", f'resize2fs "$({SOURCE})"', "data-volume-size", host.data_dir),
            check=("sh", "-c", FILLS_DEVICE, "data-volume-size", host.data_dir),
            after=("command:data-volume",),
        ),
    ]


def _journal() -> list[Resource]:
    """Return limits that keep the journal from filling the disk; the journal survives reboots."""
    path = "/etc/systemd/journald.conf.d/10-llm-deploy.conf"
    return [
        File(path=path, content=JOURNAL_LIMITS),
        Unit(name="systemd-journald.service", restart_on=(f"file:{path}",)),
    ]


def _security_updates() -> list[Resource]:
    """Return unattended security updates, which never reboot the host."""
    after = ("packages:base",)
    return [
        File(path="/etc/apt/apt.conf.d/20auto-upgrades", content=UPGRADE_DAILY, after=after),
        File(path="/etc/apt/apt.conf.d/52llm-deploy", content=UPGRADE_POLICY, after=after),
        Unit(name="apt-daily.timer", after=after),
        Unit(name="apt-daily-upgrade.timer", after=after),
    ]


def _clock() -> list[Resource]:
    """Return clock synchronisation: the image's own service, else systemd-timesyncd."""
    start = (
        "for unit in chrony ntpsec systemd-timesyncd; do"
        " systemctl cat $unit >/dev/null 2>&1 && exec systemctl enable --now $unit; done;"
        " apt-get -qq update;"
        " apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends systemd-timesyncd"
        " && systemctl enable --now systemd-timesyncd"
    )
    return [
        Command(
            name="time-sync",
            argv=("sh", "-c", start),
            check=("systemctl", "is-active", "--quiet", *CLOCK_UNITS),  # succeeds when one of them is active
            after=("packages:base",),
        )
    ]


def _memory(host: HostRecord) -> list[Resource]:
    """Return a swap file for a small host."""
    missing_gib = min(MAX_SWAP_GIB, SWAP_BELOW_GIB - host.memory_gib)
    return [Swap(path="/swapfile", size_mib=round(missing_gib * 1024))] if missing_gib > 0 else []


def _kernel() -> list[Resource]:
    """Return the kernel's settings."""
    return [Sysctl(name=name, value=value) for name, value in SYSCTLS.items()]


def _sshd(host: HostRecord, gateway: GatewaySpec) -> list[Resource]:
    """Return keys-only SSH. sshd first tests the file together with the others, so a broken one is never installed.

    People may work on hosts that existed before. There, forwarding, the number of tries and root logins stay as they
    are, so that every previous login by key still works.
    """
    content = render(
        "sshd.conf.j2",
        ours=host.cloud in MADE,
        login_is_root=host.user == "root",
        keys_only=not host.password_logins,
        metrics_ports=forwarded_ports(gateway),
    )
    check = first_file_check(keys_only=not host.password_logins, people_work_there=host.cloud not in MADE)
    return sshd_settings(SshdFile(path=SSHD_FILE, content=content, check=check), "base")
