"""What this host needs to reach its package registries, read so that a machine on it can be told the same.

Reads apt sources, apt's download settings, pip and uv settings, proxies, name servers and the CA bundle. Knows nothing
of credential stores: a password travels only where it stands in one of those settings itself (an index URL, a proxy).
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
"""Where Debian keeps all trusted CAs in one file, on the host and in the machine."""

PIP_SETTINGS = (
    "index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries", "no-index", "find-links",
    "disable-pip-version-check",
)  # fmt: skip

UV_SETTINGS = ("index", "index-url", "extra-index-url", "allow-insecure-host", "default-index")

PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

OUR_CA = b"llm-deploy CA "
"""How the name of every checkout's CA begins (provisioning/access/certificates.py)."""

_APT_SETTING = re.compile(
    r"^Acquire::(?:https?::|ftp::|Check-Valid-Until|Check-Date|Retries|ForceIPv4|Languages|Max-FutureTime)"
    r'[^"]* "(?P<value>.+)";$'
)


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str:
    """Return the PEM text of every CA this host trusts; empty when it has no bundle.

    A bundle of nothing but our own CAs is passed over: SSL_CERT_FILE names it for clients of an endpoint.
    """
    for name in (environment.get("SSL_CERT_FILE", ""), SYSTEM_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt"):
        if name and Path(name).is_file():
            bundle = Path(name).read_text(encoding="utf-8", errors="replace")
            if not _is_ours_alone(bundle):
                return bundle
    return ""


def own_certificates(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the CAs this host trusts beyond those of its distribution's package: a company's own, or a proxy's.

    The machine brings a newer package; to hand on the host's would bring back CAs that Mozilla has since thrown out.
    Our own are left out: what answers a machine of ours is not signed by them, and a new CA would be a new build.
    """
    packaged = {
        certificate
        for file in Path("/usr/share/ca-certificates").rglob("*.crt")
        for certificate in certificates(file.read_text(encoding="utf-8", errors="replace"))
    }
    return [found for found in certificates(ca_bundle(environment)) if found not in packaged and not _is_ours(found)]


def certificates(bundle: str) -> list[str]:
    """Return the single certificates of a PEM bundle, in order, without what stands between them."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----", bundle, flags=re.DOTALL)
    return [f"{certificate}\n" for certificate in found]


def _is_ours_alone(bundle: str) -> bool:
    """Return whether all certificates of a bundle are of a checkout's CA; not so for one that holds none."""
    found = certificates(bundle)
    return bool(found) and all(_is_ours(certificate) for certificate in found)


def _is_ours(certificate: str) -> bool:
    """Return whether this PEM certificate is a checkout's CA, or signed by one: the name stands in clear inside."""
    try:
        return OUR_CA in base64.b64decode("".join(certificate.splitlines()[1:-1]))
    except ValueError:
        return False  # damaged: its reader will say so


def name_servers(*files: Path) -> list[str]:
    """Return the addresses of name servers that a machine can reach: this host's, less those on its loopback."""
    # The second file is what systemd-resolved asks upstream when the first names only its stub on 127.0.0.53.
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
    """Return one-line apt sources for the Debian release `suite` that this host uses; empty when it has none.

    Sources of other products and releases stay where they are: the machine has no use for them.
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
    """Return the lines of apt.conf that tell how this host downloads (proxy, clock, retries), less paths."""
    try:
        dump = subprocess.run(
            ("apt-config", "dump", "Acquire"), capture_output=True, text=True, check=False
        ).stdout.splitlines()
    except FileNotFoundError:
        return []
    found = [match for line in dump if (match := _APT_SETTING.match(line))]
    return [match.group() for match in found if not _is_path(match["value"])]


def pip_settings(environment: Mapping[str, str] = os.environ, files: Iterable[Path] | None = None) -> dict[str, str]:
    """Return pip's settings of this host as a [global] section has them, less those that are paths here."""
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
    """Return uv's settings of this host that say where packages come from; pip's when uv has none of its own."""
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
    """Return the proxy variables of this process, in lower case, as most programs read them."""
    both = {name: environment.get(name) or environment.get(name.upper()) for name in PROXY_VARIABLES}
    return {name: value for name, value in both.items() if value}


def _one_line(paragraph: str) -> list[str]:
    """Return a deb822 paragraph as one-line sources, one for each suite and address; empty when it is switched off."""
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
    """Return the suite of a one-line source; empty when it has none."""
    words = re.sub(r"\[.*?\]", "", line).split()
    return words[2].partition("/")[0] if len(words) > 2 else ""  # noqa: PLR2004  # deb ADDRESS SUITE …


def _is_path(value: str) -> bool:
    """Return whether a setting names a place on this host, which means nothing in the machine."""
    return value.startswith(("/", "~", "."))
