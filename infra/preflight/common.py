"""What preflight looks at in every rented cloud: the login key, doors for nobody, the price."""

from collections.abc import Iterator

from core.errors import ConfigError
from infra.config import DeploymentConfig
from infra.login import login_key
from infra.preflight import Finding
from infra.prices import HOURS_PER_MONTH, stack_price

DOCUMENTATION = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")
"""Networks of RFC 5737 and 3849."""

OWN_ADDRESS = "write your own with /32 behind it, as `curl -s https://checkip.amazonaws.com` prints it"


def login_key_is_there(config: DeploymentConfig, stack: str) -> Iterator[Finding]:
    """Yield whether there is a key to log in with."""
    try:
        key = login_key(stack, config.machine.identity_file)
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
    else:
        yield Finding("ok", "machine.identity_file", str(key.private_file))


def documentation_addresses(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield networks of which nobody comes, those of our own stack files among them: the host would cost for nobody."""
    network = config.network
    for key, cidrs in (("ssh_cidrs", network.ssh_cidrs), ("client_cidrs", network.client_cidrs)):
        for index, cidr in enumerate(cidrs):
            if cidr.startswith(DOCUMENTATION):
                what = f"{cidr} is an address for documentation: nobody has it"
                yield Finding("error", f"network.{key}[{index}]", what, OWN_ADDRESS)


def price_finding(config: DeploymentConfig, spot_usd_per_hour: float | None = None) -> Iterator[Finding]:
    """Yield what the stack costs; `spot_usd_per_hour` is the market's price, where the cloud told it."""
    price = stack_price(config, spot_usd_per_hour)
    if price is None:
        what, hint = f"our table has none for {config.machine.type} in {config.region}", "see the cloud's price list"
        yield Finding("warning", "price", what, hint)
        return
    what = f"${price.per_hour:.3f} an hour, ${price.per_month:.0f} a month of {HOURS_PER_MONTH} h"
    yield Finding("ok", "price", what)
