"""Verify the bundle around this file, then let its agent bring this host to its list. Standard library, Python 3.8.

    install.py --manifest SHA256 [--host NAME] [--secrets FILE] [--plan]

Takes nothing from a network: apt, pip and uv are pointed at the bundle. Changes nothing before every file is verified.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HERE = Path(__file__).resolve().parent
MANIFEST = "MANIFEST.json"
UV_CACHE = Path("/var/lib/llm-deploy/bundle-uv-cache")
"""Where uv unpacks wheels: not in /tmp, which may be small. Removed at the end; installed packages do not need it."""
BLOCK_BYTES = 1 << 20
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
AGENT_CUT = 3
"""Exit status of an agent that was asked to stop."""


class Refused(Exception):  # noqa: N818  # printed as one line, like all errors of this project
    """The reason for refusing, and what to do."""


def main() -> int:
    """Verify, install; return the exit status."""
    options = _options()
    try:
        manifest = verified_manifest(options.manifest or _asked())
        host = chosen_host(manifest, options.host)
        check_host(manifest)
        verify_files(manifest)
        document = with_secrets(json.loads((HERE / "lists" / (host + ".json")).read_text()), host, options.secrets)
        return run_agent(document, "plan" if options.plan else "apply", host)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted; nothing was changed", file=sys.stderr)
        return EXIT_INTERRUPTED


def _options() -> Any:
    parser = argparse.ArgumentParser(
        prog="install.sh", description="Install the bundle on this host.", allow_abbrev=False
    )
    parser.add_argument("--manifest", default="", help="SHA-256 of MANIFEST.json, which `fab bundle` printed")
    parser.add_argument("--host", default="", help="which host of the bundle this is, when it holds several")
    parser.add_argument("--secrets", default="", help="file that was made beside the archive")
    parser.add_argument("--plan", action="store_true", help="print what would change; change nothing")
    return parser.parse_args()


def _asked() -> str:
    if not sys.stdin.isatty():
        raise Refused("the SHA-256 of the manifest is missing; write --manifest and the one that `fab bundle` printed")
    return input("SHA-256 of the manifest, which `fab bundle` printed: ").strip()


def verified_manifest(wanted: str) -> dict[str, Any]:
    """Return the manifest if it has the SHA-256 that the person gives."""
    text = (HERE / MANIFEST).read_bytes()
    found = hashlib.sha256(text).hexdigest()
    if found != wanted.lower():
        raise Refused(f"{MANIFEST} has SHA-256 {found}, not {wanted}: this is another bundle, or it was changed")
    content: dict[str, Any] = json.loads(text.decode())
    return content


def chosen_host(manifest: dict[str, Any], name: str) -> str:
    """Return the name of this host in the bundle."""
    hosts = manifest["hosts"]
    if not name and len(hosts) == 1:
        return str(hosts[0])
    if name not in hosts:
        raise Refused(f"write --host with one of {', '.join(hosts)}")
    return name


def check_host(manifest: dict[str, Any]) -> None:
    """Refuse a host of another release or architecture than the bundle's packages."""
    release = {}
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        release[key] = value.strip("\"'")
    found = f"{release.get('ID')}-{release.get('VERSION_ID')} on {platform.machine()}"
    wanted = f"{manifest['os_release']} on {manifest['arch']}"
    if found != wanted:
        raise Refused(f"this host is {found}, the bundle is for {wanted}; make one with --os-release")
    if not Path("/run/systemd/system").is_dir():
        raise Refused("systemd does not run here, and the roles need it; see docs/existing-hosts.md")
    if any(character.isspace() for character in str(HERE)):
        raise Refused(f"apt does not accept a path with a blank ({HERE}); unpack the bundle elsewhere")


def verify_files(manifest: dict[str, Any]) -> None:
    """Refuse a bundle with a file that is missing, changed or not in the manifest."""
    files = manifest["files"]
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file() or path.is_symlink()}
    for name in sorted(there - set(files) - {MANIFEST}):
        raise Refused(f"{name} is not in the manifest: the bundle was changed; unpack it again")
    total = sum(size for _, size in files.values())
    done = 0
    for name, (sha256, size) in files.items():
        path = HERE / name
        if name not in there or path.is_symlink() or path.stat().st_size != size or _sha256(path) != sha256:
            raise Refused(f"{name} is missing or differs from the manifest; unpack the bundle again")
        done += size
        _progress(f"verified {done >> 20} of {total >> 20} MiB")
    print(f"verified: {len(files)} files, {total >> 20} MiB", flush=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def with_secrets(document: dict[str, Any], host: str, path: str) -> dict[str, Any]:
    """Return the list with its secrets in place."""
    secrets: dict[str, str] = {}
    if path:
        try:
            secrets = dict(json.loads(Path(path).read_text())[host])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise Refused(
                f"{path} holds no secrets for {host}; name the file that was made beside the archive"
            ) from None

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"secret_key"}:
                if value["secret_key"] not in secrets:
                    raise Refused("the bundle holds no secrets; name the file made beside it with --secrets")
                return {"secret": secrets[value["secret_key"]]}
            return {name: fill(item) for name, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    filled: dict[str, Any] = fill(document)
    return filled


def run_agent(document: dict[str, Any], mode: str, host: str) -> int:
    """Run the agent on the list, which stays in memory, and print its progress; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="llm-bundle-") as folder:
        environment = {**os.environ, **sources(Path(folder))}
        read_packages(environment)
        handle = os.memfd_create("resources")
        os.write(handle, json.dumps(document).encode())
        listed = f"/proc/self/fd/{handle}"
        argv = (sys.executable, "-I", str(HERE / "agent.pyz"), mode, listed, "--blobs", str(HERE / "blobs"))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent gets it too, and stops safely
        try:
            with subprocess.Popen(
                argv,
                env=environment,
                pass_fds=(handle,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            ) as agent:
                assert agent.stdout is not None  # noqa: S101
                reboot = tell_all(agent.stdout, host)
        finally:
            signal.signal(signal.SIGINT, before)
    shutil.rmtree(UV_CACHE, ignore_errors=True)
    if reboot:
        print(f"{host}: {reboot}; reboot this host, then run the same command again", file=sys.stderr)
    if agent.returncode == AGENT_CUT:
        print(f"{host}: interrupted; run the same command again to finish", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED if agent.returncode else 0


def tell_all(events: Iterable[str], host: str) -> str:
    """Print the agent's events and their counts; return the reason for a reboot, empty if none is needed."""
    counts: dict[str, int] = {}
    reboot = ""
    for line in events:
        event = json.loads(line)
        reboot = event.get("reboot") or reboot
        _tell(event, counts, host)
    counted = ", ".join(f"{number} {word}" for word, number in counts.items())
    print(f"{host}: {counted or 'nothing'}")
    return reboot


def read_packages(environment: dict[str, str]) -> None:
    """Let apt read the list of the bundle's packages."""
    done = subprocess.run(
        ("apt-get", "-qq", "update"),
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        raise Refused(f"apt-get update: {last}")
    print(plain(done.stderr), end="", file=sys.stderr)


def sources(folder: Path) -> dict[str, str]:
    """Return the environment that makes apt, pip and uv take everything from the bundle; apt's settings in `folder`."""
    (folder / "lists/partial").mkdir(parents=True)
    # Every file below has been verified against the manifest, which a person vouched for.
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{HERE}/debs ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{folder}/lists";\nAPT::Sandbox::User "root";\n'
    )
    wheels = str(HERE / "wheels")
    # For uv as a file: it knows no variable for `no-index`, and without that it asks a registry first.
    (folder / "uv.toml").write_text(
        f'no-index = true\nfind-links = ["{wheels}"]\noffline = true\npython-downloads = "never"\n'
    )
    return {
        "APT_CONFIG": str(folder / "apt.conf"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels,
        "UV_CONFIG_FILE": str(folder / "uv.toml"),
        "UV_CACHE_DIR": str(UV_CACHE),
    }


def _tell(event: dict[str, Any], counts: dict[str, int], host: str) -> None:
    """Print one event of the agent for a person."""
    kind = event["event"]
    if kind == "resource":
        status = str(event["status"])
        counts[status] = counts.get(status, 0) + 1
        if status == "changed":
            print(plain(f"  + {event['id']}: {'; '.join(event.get('changes', ()))}"), flush=True)
        elif status in ("failed", "skipped"):
            print(plain(f"  ✗ {event['id']}: {event.get('error', '')}"), file=sys.stderr, flush=True)
            print(plain(event.get("detail", "")), file=sys.stderr, end="")
    elif kind == "progress":
        _progress(f"{event['id']}: {event['text']}")
    elif kind in ("refused", "crashed"):
        error = event.get("error", "the agent crashed")
        print(plain(f"error: {host}: {error}\n{event['detail']}"), file=sys.stderr)


def plain(text: str) -> str:
    """Return text of programs with control characters made visible, so that no terminal obeys them."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def _progress(text: str) -> None:
    """Show the progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{plain(text)[:100]}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
