"""The root filesystem that every local machine starts from: Debian 12, systemd, sshd, this host's package sources.

Built once by mmdebstrap and cached under the hash of its recipe. Contains no key, name or address: each machine gets
its own from infra/clouds/local/parts/guest.py.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from core.console import say, step
from core.errors import HostError, UsageError, run_cli
from core.paths import cache_dir
from core.waiting.one_at_a_time import one_at_a_time
from tools import host_settings
from tools.host_packages import DEBIAN_KEYRING, SEARCH_PATH, ensure_host_packages

SUITE = "bookworm"

PACKAGES = (
    "ca-certificates", "curl", "dbus", "iproute2", "openssh-server", "python3", "sudo", "systemd", "systemd-sysv",
)  # fmt: skip
"""Only what every cloud's Debian image has, so that tests show whether the roles install all that they need."""

EXCLUDED = (
    "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
)  # fmt: skip
"""dpkg skips these files, now and for packages that roles install: a third of the files to copy for each machine."""

LOGIN_USER = "admin"
"""The login of Debian's cloud images: it has no password, and sudo asks for none."""

SHARED_CACHE = "/var/cache/llm-deploy"
"""The host's cache folder, as the machine sees it."""

DEBIAN_SOURCES = (
    f"deb [signed-by={DEBIAN_KEYRING}] http://deb.debian.org/debian {SUITE} main",
    f"deb [signed-by={DEBIAN_KEYRING}] http://deb.debian.org/debian {SUITE}-updates main",
    f"deb [signed-by={DEBIAN_KEYRING}] http://deb.debian.org/debian-security {SUITE}-security main",
)
"""Sources for a host that does not run Debian 12."""

SSHD_CONFIG = """\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers admin
UseDNS no
"""

SSH_AFTER_LOGIN_ALLOWED = """\
[Unit]
# Answers on port 22 only once logins are let in, so that "it answers" means "it can be used".
After=systemd-user-sessions.service
"""

SUDOERS = f"""\
Defaults env_keep += "SSL_CERT_FILE REQUESTS_CA_BUNDLE {" ".join(host_settings.PROXY_VARIABLES)}"
{LOGIN_USER} ALL=(ALL) NOPASSWD: ALL
"""

STEP_TIMEOUT_S = 1800
UNUSED_AFTER_S = 14 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The inputs of a root filesystem; equal recipes share a build."""

    suite: str
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    apt_settings: tuple[str, ...]
    dpkg_settings: tuple[str, ...]
    certificates: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    """Path in the machine, and content; owned by root, mode 0644."""
    commands: tuple[tuple[str, ...], ...]

    @property
    def digest(self) -> str:
        """The name of the cached build."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def recipe() -> Recipe:
    """Return the recipe for this host's current settings."""
    certificates = tuple(host_settings.own_certificates())
    sources = tuple(host_settings.apt_sources(SUITE)) or DEBIAN_SOURCES
    apt = tuple(host_settings.apt_settings())
    return Recipe(
        suite=SUITE,
        sources=sources,
        packages=PACKAGES,
        apt_settings=apt,
        dpkg_settings=EXCLUDED,
        certificates=certificates,
        files=(
            ("/etc/apt/sources.list", "\n".join(sources) + "\n"),
            ("/etc/apt/apt.conf.d/50host", "".join(f"{line}\n" for line in apt)),
            ("/etc/environment", _environment()),
            ("/etc/systemd/system.conf.d/50-host.conf", _unit_environment()),
            ("/etc/pip.conf", _pip_conf()),
            ("/etc/uv/uv.toml", _uv_toml()),
            ("/etc/ssh/sshd_config.d/10-machine.conf", SSHD_CONFIG),
            ("/etc/systemd/system/ssh.service.d/10-machine.conf", SSH_AFTER_LOGIN_ALLOWED),
            ("/etc/systemd/journald.conf.d/10-machine.conf", "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n"),
            ("/etc/sudoers.d/10-machine", SUDOERS),
        ),
        commands=(
            ("useradd", "--create-home", "--shell", "/bin/bash", LOGIN_USER),
            ("update-ca-certificates",),
            # A container has no console, so its getty would restart for ever.
            ("systemctl", "mask", "console-getty.service", "getty@.service"),
        ),
    )


def ensure_rootfs() -> Path:
    """Return the root filesystem for this host's recipe. Builds it if the cache does not have it."""
    wanted = recipe()
    store = cache_dir() / "rootfs"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = store / wanted.digest
    if root.is_dir():
        os.utime(root)  # in use: see _remove_unused
        return root
    ensure_host_packages()
    with one_at_a_time(
        store / f"{wanted.digest}.lock", "another process is building the root filesystem; waiting for it"
    ):
        if not root.is_dir():
            with step(f"build the root filesystem of local machines (Debian {SUITE}, once, some 40 s)", once=True):
                _build(wanted, root)
            _remove_unused(store)
    return root


def _build(recipe: Recipe, root: Path) -> None:
    """Build in a temporary folder and rename it to `root`, so that an interrupted build never looks complete."""
    for remains in root.parent.glob(f".{root.name}.*"):
        shutil.rmtree(remains)
    staged = root.parent / f".{root.name}.{secrets.token_hex(4)}"
    staged.mkdir()
    say(f"  mmdebstrap {recipe.suite}: {', '.join(recipe.packages)}")
    _call(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={line.rstrip(';')}" for line in recipe.apt_settings),
        *(f"--dpkgopt={line}" for line in recipe.dpkg_settings), recipe.suite, str(staged), *recipe.sources,
    )  # fmt: skip
    say("  copy CA certificates, apt, pip and uv settings")
    customise(recipe, staged)
    os.utime(staged)
    staged.rename(root)


def _remove_unused(store: Path) -> None:
    """Remove old builds: each change of this host's settings makes a new one."""
    for build in store.glob("[0-9a-f]*"):
        if build.is_dir() and time.time() - build.stat().st_mtime > UNUSED_AFTER_S:
            shutil.rmtree(build)
            build.with_name(f"{build.name}.lock").unlink(missing_ok=True)


def customise(recipe: Recipe, root: Path) -> None:
    """Apply the recipe to a fresh Debian in `root`, and remove what machines must not share."""
    for path, content in recipe.files:
        _write(root, path, content, 0o440 if path.startswith("/etc/sudoers.d/") else 0o644)
    for certificate in recipe.certificates:
        name = hashlib.sha256(certificate.encode()).hexdigest()[:16]
        _write(root, f"/usr/local/share/ca-certificates/host-{name}.crt", certificate, 0o644)
    for command in recipe.commands:
        _call("chroot", str(root), *command)
    for secret in (root / "etc/ssh").glob("ssh_host_*"):
        secret.unlink()
    (root / "etc/machine-id").write_text("")
    (root / SHARED_CACHE.lstrip("/")).mkdir(parents=True, exist_ok=True)


def shared_cache_dir() -> Path:
    """Return the host's folder of wheels and models that every local machine sees at SHARED_CACHE."""
    folder = cache_dir() / "machines"
    for name in ("uv", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def _environment() -> str:
    """Return /etc/environment, which points programs with their own CA bundle to the system's."""
    variables = {
        "SSL_CERT_FILE": host_settings.SYSTEM_BUNDLE,
        "REQUESTS_CA_BUNDLE": host_settings.SYSTEM_BUNDLE,
        **host_settings.proxy_variables(),
    }
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _unit_environment() -> str:
    """Return the same variables for systemd units, which do not read /etc/environment."""
    return "[Manager]\nDefaultEnvironment=" + " ".join(f'"{line}"' for line in _environment().splitlines()) + "\n"


def _pip_conf() -> str:
    """Return /etc/pip.conf."""
    settings = {"cert": host_settings.SYSTEM_BUNDLE, **host_settings.pip_settings()}
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def _uv_toml() -> str:
    """Return /etc/uv/uv.toml.

    `symlink`: the cache is another mount, so hard links are not possible, and a copy of vLLM takes 5.5 GB and 30 s for
    each machine. So a machine needs the cache as long as it exists.
    """
    settings = {"system-certs": True, "cache-dir": f"{SHARED_CACHE}/uv", "link-mode": "symlink"}
    settings |= host_settings.uv_settings()
    return "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())


def _toml(value: object) -> str:
    """Return a value of uv.toml as TOML: like JSON, except for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value)


def _write(root: Path, path: str, content: str, mode: int) -> None:
    """Write one file of the machine."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    target.chmod(mode)


def _call(*argv: str) -> None:
    """Run a step of the build. Raises HostError with its last lines if it fails."""
    try:
        done = subprocess.run(
            argv,
            env={"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", **host_settings.proxy_variables()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{argv[0]} took longer than {STEP_TIMEOUT_S} s",
            where="root filesystem of local machines",
            hint="is the package mirror reachable? the next run starts again",
        ) from error
    if done.returncode:
        raise HostError(
            f"{argv[0]} ended with status {done.returncode}",
            where="root filesystem of local machines",
            hint="is the package mirror reachable? the next run starts again",
            detail="\n".join((done.stdout + done.stderr).splitlines()[-15:]),
        )


def main() -> int:
    """Build the root filesystem if it is missing, and print its path."""
    if os.geteuid() != 0:
        raise UsageError("needs root", where="python -m tools.rootfs", hint="run it with sudo -E")
    print(ensure_rootfs())
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
