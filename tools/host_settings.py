"""This host's settings for package registries. A local machine on this host needs the same.

Reads apt sources, apt's download settings, pip and uv settings, proxies, name servers and the CA bundle. Does not read
credential stores: a password reaches the machine only if one of those settings contains it (an index URL, a proxy).
"""

import base64
import configparser
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's file with all trusted CAs, on the host and in the machine."""

PIP_SETTINGS = (
    "index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries", "no-index", "find-links",
    "disable-pip-version-check",
)  # fmt: skip

UV_SETTINGS = ("index", "index-url", "extra-index-url", "allow-insecure-host", "default-index")

PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

OUR_CA = b"llm-deploy CA "
"""The start of the name of every checkout's CA (provisioning/access/certificates.py)."""

_APT_SETTING = re.compile(
    r"^Acquire::(?:https?::|ftp::|Check-Valid-Until|Check-Date|Retries|ForceIPv4|Languages|Max-FutureTime)"
    r'[^"]* "(?P<value>.+)";$'
)


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str:
    """Return the PEM text of all CAs that this host trusts; empty if it has no bundle.

    Skips a bundle with only this project's CAs: SSL_CERT_FILE can name one for the clients of an endpoint.
    """
    for name in (environment.get("SSL_CERT_FILE", ""), SYSTEM_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt"):
        if name and Path(name).is_file():
            bundle = Path(name).read_text(encoding="utf-8", errors="replace")
            if not _is_ours_alone(bundle):
                return bundle
    return ""


def own_certificates(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the CAs that this host trusts in addition to its distribution's package: a company's, or a proxy's.

    The machine has a newer package, so the host's package could restore CAs that Mozilla has removed since. This
    project's own CAs are left out: no server that the machine calls uses them, and a new one would cause a new build.
    """
    packaged = {
        certificate
        for file in Path("/usr/share/ca-certificates").rglob("*.crt")
        for certificate in certificates(file.read_text(encoding="utf-8", errors="replace"))
    }
    return [found for found in certificates(ca_bundle(environment)) if found not in packaged and not _is_ours(found)]


def certificates(bundle: str) -> list[str]:
    """Return the certificates of a PEM bundle in order, without the text between them."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----", bundle, flags=re.DOTALL)
    return [f"{certificate}\n" for certificate in found]


def _is_ours_alone(bundle: str) -> bool:
    """Return whether a bundle contains certificates, and only those of a checkout's CA."""
    found = certificates(bundle)
    return bool(found) and all(_is_ours(certificate) for certificate in found)


def _is_ours(certificate: str) -> bool:
    """Return whether this PEM certificate is a checkout's CA or signed by one: it contains the name as plain bytes."""
    try:
        return OUR_CA in base64.b64decode("".join(certificate.splitlines()[1:-1]))
    except ValueError:
        return False  # damaged; the program that reads it reports that


def name_servers(*files: Path) -> list[str]:
    """Return this host's name servers, without those on its loopback, which a machine cannot reach."""
    # The first file may name only systemd-resolved's stub on 127.0.0.53; the second has the servers that the stub uses.
    found: list[str] = []
    for file in files or (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not file.is_file():
            continue
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] == ["nameserver"] and len(words) > 1 and not words[1].startswith(("127.", "::1")):
                found.append(words[1])
        if found:
            break
    return found


def apt_sources(suite: str, etc_apt: Path = Path("/etc/apt")) -> list[str]:
    """Return this host's apt sources for the Debian release `suite`, in one-line form; empty if it has none.

    Leaves out sources of other products and releases: the machine does not need them.
    """
    lines: list[str] = []
    folder = etc_apt / "sources.list.d"
    one_line = [etc_apt / "sources.list", *sorted(folder.glob("*.list"))]
    for file in (file for file in one_line if file.is_file()):
        lines += [line.strip() for line in file.read_text().splitlines() if line.startswith("deb ")]
    for file in sorted(folder.glob("*.sources")):
        for paragraph in re.split(r"\n\s*\n", file.read_text()):
            lines += _one_line(paragraph)
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    return [line for line in lines if _suite(line) in wanted and "debian" in line]


def apt_settings() -> list[str]:
    """Return the lines of apt.conf about downloads (proxy, clock, retries), without those that contain a path."""
    try:
        dump = subprocess.run(
            ("apt-config", "dump", "Acquire"), capture_output=True, text=True, check=False
        ).stdout.splitlines()
    except FileNotFoundError:
        return []
    found = [match for line in dump if (match := _APT_SETTING.match(line))]
    return [match.group() for match in found if not _is_path(match["value"])]


def pip_settings(environment: Mapping[str, str] = os.environ, files: Iterable[Path] | None = None) -> dict[str, str]:
    """Return this host's pip settings as for a [global] section, without those that are paths."""
    home = Path(environment.get("HOME", "/root"))
    if files is None:
        files = [
            Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf",
        ]  # fmt: skip
        files += [Path(environment["PIP_CONFIG_FILE"])] if environment.get("PIP_CONFIG_FILE") else []
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        parser.read(file)
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for key in PIP_SETTINGS:
        if value := environment.get("PIP_" + key.upper().replace("-", "_")):
            found[key] = value
    return {key: found[key] for key in PIP_SETTINGS if key in found and not _is_path(found[key])}


def uv_settings(environment: Mapping[str, str] = os.environ, files: Iterable[Path] | None = None) -> dict[str, Any]:
    """Return this host's uv settings for package sources; pip's if uv has none."""
    home = Path(environment.get("HOME", "/root"))
    found: dict[str, Any] = {}
    for file in files if files is not None else (Path("/etc/uv/uv.toml"), home / ".config/uv/uv.toml"):
        if file.is_file():
            found |= {key: value for key, value in tomllib.loads(file.read_text()).items() if key in UV_SETTINGS}
    if url := environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL"):
        found["index-url"] = url
    if urls := (environment.get("UV_EXTRA_INDEX_URL") or environment.get("UV_INDEX", "")).split():
        found["extra-index-url"] = urls
    if hosts := environment.get("UV_INSECURE_HOST", "").split():
        found["allow-insecure-host"] = hosts
    if not found:
        pip = pip_settings(environment)
        found = {key: pip[key] for key in ("index-url",) if key in pip}
        found |= {key: pip[key].split() for key in ("extra-index-url",) if key in pip}
    return found


def proxy_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the proxy variables of this process, with lower-case names, which most programs read."""
    both = {name: environment.get(name) or environment.get(name.upper()) for name in PROXY_VARIABLES}
    return {name: value for name, value in both.items() if value}


def _one_line(paragraph: str) -> list[str]:
    """Return a deb822 paragraph as one-line sources, one for each suite and address; empty if it is disabled."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line[0].isspace():
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
        elif name:
            fields[name] += " " + line.strip()
    if fields.get("enabled", "yes").lower() == "no" or "deb" not in fields.get("types", "").split():
        return []
    signed = fields.get("signed-by", "")
    options = f"[signed-by={signed}] " if signed.startswith("/") else ""
    return [
        f"deb {options}{address} {suite} {fields.get('components', 'main')}"
        for address in fields.get("uris", "").split()
        for suite in fields.get("suites", "").split()
    ]


def _suite(line: str) -> str:
    """Return the suite of a one-line source; empty if it has none."""
    words = re.sub(r"\[.*?\]", "", line).split()
    return words[2].partition("/")[0] if len(words) > 2 else ""  # noqa: PLR2004  # deb ADDRESS SUITE …


def _is_path(value: str) -> bool:
    """Return whether a setting is a path on this host, which does not exist in the machine."""
    return value.startswith(("/", "~", "."))
