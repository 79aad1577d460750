"""AWS as the provider plugin reaches it: clients of one region and identity, refusals in the plugin's words."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.doubles.aws.model_rules import ModelViolationError, refuse_violations
from tests.doubles.provider.kind import CloudError
from tests.doubles.provider.values import Properties

MODELLED_SETTINGS = frozenset({"region", "allowedAccountIds", "profile", "maxRetries", "version"})
DEFAULT_SETTINGS = {"skipCredentialsValidation": False, "skipRegionValidation": True}
"""Inputs that the SDK adds by itself."""

READS = 50
READ_PAUSE_S = 0.02

SERVICE_NAMES = {"ec2": "EC2", "iam": "IAM", "s3": "S3", "ssm": "SSM", "scheduler": "Scheduler", "budgets": "Budgets"}
SERVICE_NAMES |= {"sts": "STS", "logs": "CloudWatch Logs"}


OPERATIONS: set[str] = set()
"""The calls of the kinds to AWS in this process, each as service and operation."""


def operation_of(method: str) -> str:
    """Return the API's name for a method of boto3."""
    return "".join(word.title() for word in method.split("_"))


class Aws:
    """One region, one identity."""

    def __init__(self, region: str, environ: Mapping[str, str]) -> None:
        self.region = region
        self._endpoint = environ["AWS_ENDPOINT_URL"]
        self._session = boto3.Session(
            environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN"), region
        )
        self._session.events.register("before-parameter-build", refuse_violations)
        self._clients: dict[str, Any] = {}

    @cached_property
    def account(self) -> str:
        """The account that the credentials belong to."""
        return str(self.call("sts", "get_caller_identity", "")["Account"])

    def client(self, service: str) -> Any:
        """Return a client that tries once: the plugin's own retries are in `settled`."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service, endpoint_url=self._endpoint, config=Config(retries={"total_max_attempts": 1})
            )
        return self._clients[service]

    def call(self, service: str, method: str, doing: str, **arguments: Any) -> Any:
        """Call the API. Raises CloudError with the words of the vendor's plugin; `doing` begins them."""
        OPERATIONS.add(f"{service}:{operation_of(method)}")
        try:
            return getattr(self.client(service), method)(**arguments)
        except ClientError as error:
            raise ApiError(service, method, doing, error) from None
        except (BotoCoreError, ModelViolationError) as error:
            raise CloudError(f"{doing}: {error}") from None

    def found(self, service: str, method: str, missing: Iterable[str], **arguments: Any) -> Any:
        """Call the API for something that may no longer exist; None if it does not."""
        try:
            return self.call(service, method, "reading", **arguments)
        except ApiError as error:
            if error.code in missing:
                return None
            raise


class ApiError(CloudError):
    """The API answered with an error."""

    def __init__(self, service: str, method: str, doing: str, error: ClientError) -> None:
        details = error.response["Error"]
        self.code = str(details["Code"])
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        operation = operation_of(method)
        super().__init__(
            f"{doing}: operation error {SERVICE_NAMES[service]}: {operation}, https response error "
            f"StatusCode: {status}, RequestID: d0, api error {self.code}: {details.get('Message', '')}"
        )


def connect(settings: Properties, environ: Mapping[str, str]) -> Aws:
    """Return AWS for the settings of a provider. Raises CloudError as the plugin's configuration check would."""
    unknown = {key for key, value in settings.items() if DEFAULT_SETTINGS.get(key) != value} - MODELLED_SETTINGS
    if unknown:
        raise CloudError(f"the double does not model the provider's setting {', '.join(sorted(unknown))}")
    region = settings.get("region") or environ.get("AWS_REGION")
    if not region:
        raise CloudError("Missing region configuration. Set aws:region or AWS_REGION")
    if not environ.get("AWS_ACCESS_KEY_ID") or not environ.get("AWS_SECRET_ACCESS_KEY"):
        raise CloudError("No valid credential sources found. Please see https://www.pulumi.com/registry/packages/aws/")
    cloud = _shared(str(region), frozenset(environ.items()))
    allowed = settings.get("allowedAccountIds")
    if allowed and cloud.account not in [str(each) for each in allowed]:
        raise CloudError(f"AWS account ID not allowed: {cloud.account}")
    return cloud


@cache
def _shared(region: str, environ: frozenset[tuple[str, str]]) -> Aws:
    """Return AWS for one region and login: clients read megabytes of service models, so that providers share them."""
    return Aws(region, dict(environ))


def settled(look: Callable[[], Any], deadline_reads: int = READS) -> Any:
    """Return what `look` returns once it is not None. Raises CloudError after too many looks."""
    for _each in range(deadline_reads):
        seen = look()
        if seen is not None:
            return seen
        time.sleep(READ_PAUSE_S)
    raise CloudError("timeout while waiting for state to become as wanted")


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Return tags in the form of most APIs."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def tag_map(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Return tags in the form of the SDK."""
    return {each["Key"]: each["Value"] for each in tags or ()}


def tag_specifications(resource: str, tags: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return tags in the form that EC2 accepts on creation."""
    return [{"ResourceType": resource, "Tags": tag_list(tags)}] if tags else []


def retag(cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
    """Change the tags of an EC2 resource from old to new."""
    before, after = old.get("tags") or {}, new.get("tags") or {}
    gone = [{"Key": key} for key in before.keys() - after.keys()]
    if gone:
        cloud.call("ec2", "delete_tags", "removing tags", Resources=[identity], Tags=gone)
    if after and before != after:
        cloud.call("ec2", "create_tags", "adding tags", Resources=[identity], Tags=tag_list(after))
