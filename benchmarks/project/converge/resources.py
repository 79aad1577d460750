"""The benchmark's 20 resources as plain values: 1 set of packages, 1 user, 4 folders, 10 files, 3 units and 1 kernel
setting. Imports nothing, because each tool reads it in its own environment.
"""

PACKAGES = ("ca-certificates", "cron", "curl", "tree")
USER = "bench"
HOME = "/var/lib/bench"
DIRECTORIES = ("/etc/bench", "/etc/bench/conf.d", "/var/lib/bench", "/var/log/bench")
DIRECTORY_MODE = 0o750
UNIT_FILE = "/etc/systemd/system/bench.service"
FILE_MODE = 0o640
UNIT_FILE_MODE = 0o644
UNITS = ("bench.service", "cron.service", "ssh.service")
SYSCTL = ("net.ipv4.tcp_keepalive_time", "1800")

_UNIT = """\
[Unit]
Description=Stands for a service
[Service]
User=bench
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""

FILES = {
    **{
        f"/etc/bench/conf.d/{i}.conf": f"[part{i}]\n" + "".join(f"key{k} = {i * k}\n" for k in range(40))
        for i in range(9)
    },
    UNIT_FILE: _UNIT,
}

DRIFTING_FILE = "/etc/bench/conf.d/4.conf"
"""The file that is changed before each run that restores one file."""


def file_mode(path: str) -> int:
    """Return the mode of one of FILES."""
    return UNIT_FILE_MODE if path == UNIT_FILE else FILE_MODE


def file_group(path: str) -> str:
    """Return the group of one of FILES."""
    return "root" if path == UNIT_FILE else USER
