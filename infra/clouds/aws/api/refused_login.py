"""Why AWS refuses a login: a text and a hint for each cause. Pure: makes no call.

AWS uses one code for several causes. A region that the account has not enabled refuses a valid login with the code of
an invalid one, and so does EC2 if the caller's clock is wrong. The date of the answer shows whether it is the clock.
"""

from dataclasses import dataclass

HOW = "e.g. `aws sso login`, or set AWS_PROFILE"
LOG_IN = f"log in again, {HOW}"
FIRST_LOG_IN = f"log in, {HOW}"
SET_CLOCK = "set it, e.g. `sudo timedatectl set-ntp true`"

CREDENTIALS, CLOCK = "AWS credentials", "this computer's clock"

MAX_CLOCK_OFF_S = 300.0
"""AWS refuses signatures older than five minutes, S3 older than fifteen (docs.aws.amazon.com: Signature Version 4,
troubleshooting)."""

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
UNKNOWN = ("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidToken", "InvalidAccessKeyId")
"""Codes for a login that AWS does not know, in this region or anywhere."""

SIGNATURE = ("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature")
SKEWED = ("RequestTimeTooSkewed", "RequestInTheFuture")
SIGNED_AT_WRONG_TIME = ("signature expired", "signature not yet current")

NOT_SIGNED_UP = ("OptInRequired", "SubscriptionRequiredException", "NotSignedUp", "PendingVerification", "Blocked")
"""Codes for a known login whose account may not use the service: not finished, not verified, or blocked."""


@dataclass(frozen=True)
class Refusal:
    """What is wrong with a login, and what to do."""

    where: str
    what: str
    hint: str
    may_be_region: bool = False
    """Whether the login may be valid and the region not enabled for its account."""


def refusal_of(code: str, message: str, clock_off_s: float | None) -> Refusal | None:
    """Return why AWS refused a login with this error; None for an error that is not about the login.

    `clock_off_s`: seconds that this computer's clock is ahead of AWS's; None if the answer had no date.
    """
    if code not in (*EXPIRED, *UNKNOWN, *SIGNATURE, *SKEWED, *NOT_SIGNED_UP, "RequestExpired"):
        return None
    if clock_off_s is not None and abs(clock_off_s) > MAX_CLOCK_OFF_S:
        side = "ahead of" if clock_off_s > 0 else "behind"
        return Refusal(CLOCK, f"is {abs(clock_off_s) / 60:.0f} minutes {side} that of AWS, which refuses it", SET_CLOCK)
    if code in SKEWED or (code in SIGNATURE and message.lower().startswith(SIGNED_AT_WRONG_TIME)):
        return Refusal(CLOCK, f"is wrong ({message})", SET_CLOCK)
    if code in NOT_SIGNED_UP:
        hint = "finish or repair the account's registration in the AWS console"
        return Refusal("AWS account", f"may not use the service: {code}: {message}", hint, may_be_region=True)
    return Refusal(CREDENTIALS, _trouble(code, clock_off_s), LOG_IN, may_be_region=code in UNKNOWN)


def _trouble(code: str, clock_off_s: float | None) -> str:
    """Return what is wrong with the credentials themselves."""
    if code in UNKNOWN:
        return "are not valid"
    if code in SIGNATURE:
        return "do not match: the secret belongs to another key id"
    is_clock_right = code in EXPIRED or clock_off_s is not None
    return "have expired" if is_clock_right else "have expired, or this computer's clock is wrong"
