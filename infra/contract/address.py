"""The address of a host: an IP address or a DNS name, and nothing that ssh would read as an option or a port."""

import contextlib
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

from pydantic import AfterValidator

NO_ADDRESS = "is not an address; write an IP address or a DNS name, without scheme, user or port"

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*{_LABEL}\.?")
_NUMBER = r"([0-9]+|0[xX][0-9A-Fa-f]*)"
_LOOKS_LIKE_IPV4 = re.compile(rf"({_NUMBER}\.)*{_NUMBER}\.?")
"""Other spellings of an IPv4 address, as the C library reads them: 10.4, 0x7f.0.0.1."""

IPV6 = 6
BROADCAST = IPv4Address("255.255.255.255")

_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""An interface's name, after the `%` of a link-local address."""


def address_of(text: str) -> str:
    """Return `text` if it is an IP address or a DNS name. Raises ValueError for anything else, e.g. a port."""
    address = _ip_address(text)
    if address is not None:
        if trouble := _nobody_there(address):
            raise ValueError(trouble)
        return text
    name, _, port = text.rpartition(":")
    if port.isdecimal() and name and (":" not in name or name.startswith("[")):
        raise ValueError("has a port; write only the address here, and the port as ssh_port")
    if text.startswith("[") and text.endswith("]"):
        raise ValueError("is in brackets; write an IPv6 address without them")
    if not _DNS_NAME.fullmatch(text) or _LOOKS_LIKE_IPV4.fullmatch(text):
        raise ValueError(NO_ADDRESS)
    return text


def is_plain_ip(text: str) -> bool:
    """Return whether `text` is an IP address without an interface behind it, as firewall rules need it."""
    return _ip_address(text) is not None and "%" not in text


def _ip_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address in `text`. None: `text` is not an IP address."""
    with contextlib.suppress(ValueError):
        return ip_address(text)
    return None


def _nobody_there(address: IPv4Address | IPv6Address) -> str:
    """Return why no host can have this address; empty if one can."""
    zone = address.scope_id if isinstance(address, IPv6Address) else None
    if zone is not None and not _ZONE.fullmatch(zone):
        return "names no interface behind the %; write one as `ip link` lists it"
    if address.is_link_local and address.version == IPV6 and zone is None:
        return "is a link-local address; write the interface of this machine behind it, as in %eth0"
    if address.is_unspecified or address.is_multicast or address == BROADCAST:
        return "is not the address of a single host; write the host's own address"
    return ""


Address = Annotated[str, AfterValidator(address_of)]
"""Part of ssh's command line and of known_hosts, so it must not look like an option or contain a blank."""
