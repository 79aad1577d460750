"""A host's proxy as its programs take it: variables for what the agent runs, a file for apt's own timers.

A login is read when a host is provisioned. It is in no argument list, log or diff, and on the host in files and
environments of root's and of the programs that use it.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from core.errors import ConfigError
from infra.config.models.proxy import ProxySpec
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import File, Secret, Text

ALWAYS_DIRECT = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")
"""Loopback, and where clouds tell a machine of itself."""

APT_FILE = "/etc/apt/apt.conf.d/05llm-deploy-proxy"


def proxy_environment(host: HostRecord) -> dict[str, Text]:
    """Return the variables for what the agent runs; none without a proxy. Raises ConfigError for a missing login."""
    if host.proxy is None:
        return {}
    urls = _urls(host.proxy)
    values: dict[str, Text] = {f"{scheme}_proxy": url for scheme, url in urls.items()}
    values["no_proxy"] = ",".join((*ALWAYS_DIRECT, *host.proxy.no_proxy))
    return values | {name.upper(): value for name, value in values.items()}  # programs differ in what they read


def proxy_masks(host: HostRecord) -> tuple[Secret, ...]:
    """Return what may never be shown of the proxy's login beside the URLs themselves."""
    if host.proxy is None or host.proxy.login is None:
        return ()
    _, password = _login(host.proxy)
    return tuple({each: Secret(each) for each in (password, quote(password, safe=""))}.values())


def apt_file(host: HostRecord) -> File:
    """Return apt's settings, which count for unattended upgrades too; without a proxy, none of ours."""
    if host.proxy is None:
        return File(path=APT_FILE, content=None)
    urls = _urls(host.proxy)
    lines = ["// Written by llm-deploy (base role)."]
    for scheme, url in urls.items():
        shown = url.value if isinstance(url, Secret) else url
        lines.append(f'Acquire::{scheme}::Proxy "{shown}";')
        direct = (*ALWAYS_DIRECT, *host.proxy.no_proxy)
        lines += [f'Acquire::{scheme}::Proxy::{name} "DIRECT";' for name in direct if ":" not in name]
    text = "\n".join(lines) + "\n"
    with_login = host.proxy.login is not None
    return File(path=APT_FILE, content=Secret(text) if with_login else text, mode=0o600 if with_login else 0o644)


def _urls(proxy: ProxySpec) -> Mapping[str, Text]:
    """Return the proxy's URL for each scheme that has one, with the login in it."""
    named = {"http": proxy.http, "https": proxy.https or proxy.http}
    if proxy.login is None:
        return {scheme: url for scheme, url in named.items() if url}
    user, password = _login(proxy)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    split = {scheme: urlsplit(url) for scheme, url in named.items() if url}
    return {scheme: Secret(f"{each.scheme}://{login}@{each.netloc}") for scheme, each in split.items()}


def _login(proxy: ProxySpec) -> tuple[str, str]:
    assert proxy.login is not None  # noqa: S101 (asked by the callers)
    user, colon, password = proxy.login.read().get_secret_value().partition(":")
    if not (user and colon and password):
        where = f"environment variable {proxy.login.env}" if proxy.login.env else str(proxy.login.file)
        raise ConfigError(
            "holds no `user:password`", where=where, hint="write the proxy's login there as user:password"
        )
    return user, password
