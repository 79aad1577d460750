"""A host's proxy in the form that programs read: variables for the agent's programs, a file for apt's timers.

A provision reads the proxy's login. No argument list, log or diff contains it. On the host it is in files and
environments of root and of the programs that use it.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from core.errors import ConfigError
from infra.config.models.proxy import ProxySpec
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import File, Secret, Text

ALWAYS_DIRECT = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")
"""Loopback, and the clouds' metadata services."""

APT_FILE = "/etc/apt/apt.conf.d/05llm-deploy-proxy"


def proxy_environment(host: HostRecord) -> dict[str, Text]:
    """Return the variables for the agent's programs; empty without a proxy. Raises ConfigError for a missing login."""
    if host.proxy is None:
        return {}
    urls = _urls(host.proxy)
    values: dict[str, Text] = {f"{scheme}_proxy": url for scheme, url in urls.items()}
    values["no_proxy"] = ",".join((*ALWAYS_DIRECT, *host.proxy.no_proxy))
    # some programs read the upper case, some the lower case
    return values | {name.upper(): value for name, value in values.items()}


def proxy_masks(host: HostRecord) -> tuple[Secret, ...]:
    """Return the parts of the proxy's login that may never be shown, besides the URLs."""
    if host.proxy is None or host.proxy.login is None:
        return ()
    _, password = _login(host.proxy)
    return tuple({each: Secret(each) for each in (password, quote(password, safe=""))}.values())


def apt_file(host: HostRecord) -> File:
    """Return apt's settings, also for unattended upgrades; None without a proxy."""
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
