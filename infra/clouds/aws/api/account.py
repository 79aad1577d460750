"""The account of the login, compared with the account that a stack is in.

A login to another account cannot see the stack's resources. `down` would then forget a stack that is still running.
"""

from core.errors import ConfigError, UsageError
from infra.clouds.aws.api.client import call
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement


def login_account(region: str) -> str:
    """Return the account of the login."""
    return str(call("sts", region, "get_caller_identity")["Account"])


def account_of_stack(config: DeploymentConfig, previous: KnownPlacement | None) -> str:
    """Return the account that a stack is created in and stays in: the login's account.

    Raises ConfigError if the stack file names another account, UsageError for a login to another account.
    """
    own_account = previous.account if previous is not None else None
    if own_account is not None and config.account not in (None, own_account):
        what = f"the stack is in account {own_account}, not in {config.account}"
        raise ConfigError(what, where="account", hint="run `make down` first, or write that account")
    account = login_account(str(config.region))
    _refuse_other(account, own_account or config.account)
    return account


def refuse_other_login(placement: Placement) -> None:
    """Raise UsageError if the login's account is not the placement's. An old placement names no account."""
    if placement.account is not None:
        _refuse_other(login_account(placement.region), placement.account)


def _refuse_other(account: str, wanted: str | None) -> None:
    if wanted not in (None, account):
        what = f"belong to account {account}, but the stack is in {wanted}"
        raise UsageError(what, where="AWS credentials", hint="log in to that account, e.g. set AWS_PROFILE")
