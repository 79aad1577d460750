"""Preflight on AWS: each cause of a refused login has its own text."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from core.errors import DeployError, UsageError
from infra.clouds.aws.api import client
from infra.clouds.aws.api.account import login_account
from tests.unit.infra.clouds.preflight import canned_aws
from tests.unit.infra.clouds.preflight.canned_aws import GOOD, InRegion, Look, refused, wrong


@pytest.mark.parametrize(
    ("answer", "announced"),
    [
        pytest.param(NoCredentialsError(), "AWS credentials: none found; log in, e.g. `aws sso login`", id="none"),
        pytest.param(refused("ExpiredToken"), "AWS credentials: have expired; log in", id="expired"),
        pytest.param(
            refused("RequestExpired"),
            "AWS credentials: have expired, or this computer's clock is wrong; log in",
            id="expired, or the clock",
        ),
        pytest.param(refused("InvalidClientTokenId"), "AWS credentials: are not valid; log in", id="not valid"),
        pytest.param(refused("SignatureDoesNotMatch"), "AWS credentials: do not match", id="secret of another key"),
        pytest.param(
            refused("SignatureDoesNotMatch", message="Signature expired: 20261129T1 is now earlier than 20261129T2"),
            "this computer's clock: is wrong (Signature expired: 20261129T1",
            id="clock, by the message",
        ),
        pytest.param(refused("RequestTimeTooSkewed"), "this computer's clock: is wrong", id="clock, as S3 says it"),
        pytest.param(
            UnauthorizedSSOTokenError(),
            "AWS credentials: the SSO session has expired, or there is none",
            id="SSO session over",
        ),
        pytest.param(
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "AWS credentials: the SSO session has expired, or there is none",
            id="SSO token over",
        ),
        pytest.param(
            CredentialRetrievalError(provider="custom-process", error_msg="exit\n1"),
            "AWS credentials: the program that a profile names for them failed",
            id="program of a profile",
        ),
        pytest.param(
            refused("OptInRequired", message="You are not subscribed to this service."),
            "AWS account: may not use the service: OptInRequired: You are not subscribed",
            id="account not finished",
        ),
    ],
)
def test_without_a_login_nothing_else_is_checked(look: Look, answer: Exception, announced: str) -> None:
    with pytest.raises(UsageError, match=re.escape(announced)):
        look({"get_caller_identity": answer})


@pytest.mark.parametrize("code", ["AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken"])
@pytest.mark.parametrize(
    ("regions", "announced"),
    [
        pytest.param(
            refused("UnauthorizedOperation", "DescribeRegions"),
            "region: ap-northeast-2 is not enabled in this account; `aws account enable-region",
            id="regions not allowed",
        ),
        pytest.param(
            GOOD["describe_regions"],
            "region: ap-northeast-2 refuses the login, and us-east-1 accepts it; use the region's own STS",
            id="session of the global STS",
        ),
    ],
)
def test_a_region_that_refuses_a_good_login_is_not_a_wrong_login(
    look: Look, code: str, regions: Any, announced: str
) -> None:
    """A region that is not opted in was reported as credentials that are not valid."""
    identity = InRegion({"us-east-1": GOOD["get_caller_identity"], "ap-northeast-2": refused(code)})

    (line,) = wrong(look({"get_caller_identity": identity, "describe_regions": regions}))

    assert line.startswith(announced)


def test_a_denied_list_of_regions_stops_nothing(look: Look) -> None:
    """An organisation's policy that denies us-east-1 stopped all of preflight."""
    found = look({"describe_regions": refused("UnauthorizedOperation", "DescribeRegions")})

    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "region: could not be queried: is not allowed (no); ask for ec2:DescribeRegions, or use another login"
    ]
    assert len(found) > len(wrong(found, "warning")) + 5


def test_a_role_that_a_profile_may_not_assume_is_a_login_error() -> None:
    login = Mock()
    login.get_frozen_credentials.side_effect = refused("AccessDenied", "AssumeRole", "not authorized")

    with pytest.raises(UsageError, match=r"AWS credentials: AssumeRole is refused \(not authorized\)"):
        client._log_in(Mock(get_credentials=lambda: login))


def test_a_page_of_html_in_place_of_an_answer_is_a_warning(look: Look) -> None:
    found = look({"describe_images": ResponseParserError("Unable to parse response")})

    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "AWS ec2: could not be queried: got an answer that is not from AWS, perhaps an HTML page; check for a "
        "proxy, then try again"
    ]


@pytest.mark.parametrize(
    ("code", "regions", "announced"),
    [
        pytest.param(
            "AuthFailure",
            {"Regions": [{"OptInStatus": "not-opted-in"}]},
            "region: ap-northeast-2 is not enabled in this account",
            id="region not enabled",
        ),
        pytest.param(
            "OptInRequired",
            {"Regions": [{"OptInStatus": "not-opted-in"}]},
            "region: ap-northeast-2 is not enabled in this account",
            id="the same, in other words",
        ),
        pytest.param(
            "OptInRequired", GOOD["describe_regions"], "AWS account: may not use the service", id="account not finished"
        ),
        pytest.param(
            "OptInRequired",
            refused("OptInRequired", "DescribeRegions"),
            "AWS account: may not use the service",
            id="account not finished, in no region",
        ),
    ],
)
def test_other_commands_also_distinguish_a_region_from_a_login(
    monkeypatch: pytest.MonkeyPatch, code: str, regions: Any, announced: str
) -> None:
    """`up` and `down` first look up the account in the stack's region."""
    identity = InRegion({"us-east-1": GOOD["get_caller_identity"], "ap-northeast-2": refused(code)})
    answers = GOOD | {"get_caller_identity": identity, "describe_regions": regions}
    monkeypatch.setattr(client, "client", lambda *which: canned_aws.CannedAws(answers, {}, *which))

    with pytest.raises(DeployError, match=re.escape(announced)) as caught:
        login_account("ap-northeast-2")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("code", "ahead", "announced"),
    [
        pytest.param("RequestExpired", timedelta(0), "AWS credentials: have expired; log in", id="expired"),
        pytest.param("AuthFailure", timedelta(minutes=-2), "AWS credentials: are not valid", id="not valid"),
        pytest.param(
            "AuthFailure", timedelta(hours=1), "is 60 minutes behind that of AWS, which refuses it; set it", id="behind"
        ),
        pytest.param("RequestExpired", timedelta(hours=-1), "is 60 minutes ahead of that of AWS", id="ahead"),
    ],
)
def test_the_clock_of_an_answer_distinguishes_a_wrong_clock_from_a_wrong_login(
    look: Look, code: str, ahead: timedelta, announced: str
) -> None:
    """EC2 answers a wrong clock like an unknown login, and both like an expired login."""
    answer = refused(code, date=format_datetime(datetime.now(UTC) + ahead))

    with pytest.raises(UsageError, match=re.escape(announced)):
        look({"get_caller_identity": answer})
