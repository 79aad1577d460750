"""A signed apt repository of small packages in place of NVIDIA's: same names, same commands, no driver.

The stand-in module is a file below FACTS, the folder that the role takes for / in paths of the kernel. It is in memory,
so that a reboot unloads it and the machine's own boot loads it again.
"""

import gzip
import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

FACTS = "/run/gpu"
KERNEL = "6.1.0-99-standin-amd64"

MODULE = f"{FACTS}/sys/module/nvidia"
VERSION_FILE = "/usr/lib/standin/module-version"

NVIDIA_SMI = f"""\
#!/bin/sh
# Answers as the real one does: not without a module, and not when the module is of another version.
loaded=$(cat {MODULE}/version 2>/dev/null) || {{ echo "NVIDIA-SMI has failed"; exit 9; }}
[ "$loaded" = "@VERSION@" ] || {{ echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18; }}
case "$1" in
  --query-gpu=driver_version) grep -l 0x10de {FACTS}/sys/bus/pci/devices/*/vendor | sed 's/.*/@VERSION@/' ;;
  --query-compute-apps=*) cat {FACTS}/compute-apps 2>/dev/null ;;
  *) exit 2 ;;
esac
"""

MODPROBE = f"""\
#!/bin/sh
# Loads what is built for the running kernel, unless the kernel's own driver is in the way; unloads what nobody uses.
kernel=$(cat {FACTS}/proc/sys/kernel/osrelease)
if [ "$1" = -r ]; then
  [ -e {FACTS}/in-use ] && exit 1
  rm -rf {MODULE}
elif [ -e {FACTS}/sys/module/nouveau ] || [ ! -e /usr/src/linux-headers-$kernel ]; then
  exit 1
elif [ ! -e {MODULE} ]; then
  mkdir -p {MODULE}
  cp {VERSION_FILE} {MODULE}/version
fi
"""

DAEMON = """\
#!/bin/sh
# Goes to the background and says under which process it runs, as --persistence-mode of the real one does.
mkdir -p /run/nvidia-persistenced
setsid sleep infinity >/dev/null 2>&1 &
echo $! > /run/nvidia-persistenced/nvidia-persistenced.pid
"""

EXPORTER = """\
#!/usr/bin/python3
import http.server, sys
host, port = sys.argv[sys.argv.index("--address") + 1].split(":")
http.server.HTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def unit(command: str, *, before: str = "") -> str:
    """Return a unit that runs `command`."""
    kind = "Type=oneshot\nRemainAfterExit=yes\n" if before else ""
    order = f"[Unit]\nBefore={before}\n" if before else ""
    return f"{order}[Service]\n{kind}ExecStart={command}\n[Install]\nWantedBy=multi-user.target\n"


@dataclass(frozen=True)
class StandIn:
    """One package: its files by path, and the mode of those that are programs."""

    name: str
    version: str
    files: dict[str, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    started_at_boot: str = ""
    """A unit among the files."""
    depends: str = ""


def driver(version: str, revision: str = "1") -> list[StandIn]:
    """Return the driver's packages, by their names on Debian 12."""
    full = f"{version}-{revision}"
    smi, modprobe = "/usr/bin/nvidia-smi", "/usr/local/sbin/modprobe"
    return [
        StandIn(
            "nvidia-driver-cuda",
            full,
            {smi: NVIDIA_SMI.replace("@VERSION@", version)},
            (smi,),
            depends=f"libcuda1 (= {full})",
        ),
        StandIn("libcuda1", full, {"/usr/lib/standin/libcuda": version}),
        StandIn(
            "nvidia-kernel-open-dkms",
            full,
            {
                VERSION_FILE: version,
                modprobe: MODPROBE,
                "/usr/lib/systemd/system/standin-module.service": unit(
                    "/usr/local/sbin/modprobe nvidia", before="nvidia-persistenced.service"
                ),
            },
            (modprobe,),
            started_at_boot="standin-module.service",
        ),
        StandIn(
            "nvidia-persistenced", full, {"/usr/bin/nvidia-persistenced": DAEMON}, ("/usr/bin/nvidia-persistenced",)
        ),
        StandIn("nvidia-modprobe", full),
        StandIn(
            "nvidia-fabricmanager-580",
            full,
            {"/usr/lib/systemd/system/nvidia-fabricmanager.service": unit("/usr/bin/sleep infinity")},
        ),
    ]


def metrics() -> list[StandIn]:
    """Return the GPU manager and its exporter."""
    engine, exporter = "/usr/bin/nv-hostengine", "/usr/bin/dcgm-exporter"
    return [
        StandIn(
            "datacenter-gpu-manager-4-core",
            "1:4.5.2-1",
            {engine: "#!/bin/sh\nexec sleep infinity\n", "/usr/lib/systemd/system/nvidia-dcgm.service": unit(engine)},
            (engine,),
        ),
        StandIn(
            "datacenter-gpu-manager-exporter",
            "4.8.2-1",
            {
                exporter: EXPORTER,
                "/usr/lib/systemd/system/nvidia-dcgm-exporter.service": unit(f"{exporter} --address 0.0.0.0:9400"),
            },
            (exporter,),
        ),
    ]


def kernel(version: str) -> list[StandIn]:
    """Return a kernel, its headers and the packages that bring the newest of both."""
    image, headers = f"linux-image-{version}", f"linux-headers-{version}"
    return [
        StandIn(image, "1"),
        StandIn(headers, "1", {f"/usr/src/{headers}/Makefile": ""}),
    ]


def meta(version: str) -> StandIn:
    """Return the package that brings the newest headers."""
    return StandIn("linux-headers-standin-amd64", version, depends=f"linux-headers-{KERNEL}")


def build(folder: Path, packages: list[StandIn]) -> str:
    """Build a repository of `packages` in `folder`, signed with a key made for it; return the public key, armoured."""
    folder.mkdir()
    entries = [_package(folder, each) for each in packages]
    index = "\n".join(entries).encode()
    (folder / "Packages").write_bytes(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index))
    listed = "".join(
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}\n"
        for path in (folder / "Packages", folder / "Packages.gz")
    )
    release = f"Origin: stand-in\nLabel: stand-in\nDate: {_now()}\nSHA256:\n{listed}"
    (folder / "Release").write_text(release)
    return _sign(folder)


def _package(folder: Path, wanted: StandIn) -> str:
    """Build one package; return its entry of the index."""
    root = folder / f".{wanted.name}_{wanted.version}"
    for path, content in wanted.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o755 if path in wanted.programs else 0o644)
    if wanted.started_at_boot:
        wants = root / "usr/lib/systemd/system/multi-user.target.wants"
        wants.mkdir()
        (wants / wanted.started_at_boot).symlink_to(f"../{wanted.started_at_boot}")
    (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
    control = (
        f"Package: {wanted.name}\nVersion: {wanted.version}\nArchitecture: all\nMaintainer: nobody <a@b.invalid>\n"
    )
    control += f"Depends: {wanted.depends}\n" if wanted.depends else ""
    control += "Description: stand-in\n"
    (root / "DEBIAN/control").write_text(control)
    archive = folder / f"{wanted.name}_{wanted.version.replace(':', '-')}.deb"
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "-b", root, archive], check=True, stdout=subprocess.DEVNULL
    )
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{control}Filename: {archive.name}\nSize: {archive.stat().st_size}\nSHA256: {sha256}\n"


def _sign(folder: Path) -> str:
    """Sign the release with a throw-away key; return the public key."""
    home = folder.parent / f"{folder.name}-gnupg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def gpg(*arguments: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--yes", "--passphrase", "", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    try:
        gpg("--quick-generate-key", "stand-in <stand-in@example.invalid>", "ed25519", "sign", "never")
        gpg("--output", str(folder / "InRelease"), "--clearsign", str(folder / "Release"))
        return gpg("--armor", "--export")
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False)


def _now() -> str:
    return subprocess.check_output(["date", "--utc", "--rfc-email"], text=True).strip().replace("+0000", "UTC")
