"""Receives the requests before moto, and adds behaviour of AWS that moto lacks.

Stock-outs and refusals on demand, deletion order, states that take a while, quotas, answers that are held back.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.doubles.aws.client import OPERATIONS
from tests.doubles.aws.order import Refusal, refuse_deletion
from tests.doubles.aws.seed import PARAMETERS, seed_parameters
from tests.doubles.aws.settings import OPERATIONS as OPERATIONS_PATH
from tests.doubles.aws.settings import PARAMETERS as PARAMETERS_PATH
from tests.doubles.aws.settings import Settings
from tests.doubles.aws.states import States
from tests.doubles.aws.stock import refuse_launch
from tests.doubles.aws.tag_keys import refuse_equal_tag_keys, refuse_group_name, refuse_tag_keys
from tests.doubles.provider import control, launcher

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
REGION = re.compile(r"Credential=[^/]+/\d+/([a-z0-9-]+)/([a-z0-9-]+)/")

DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


@dataclass(frozen=True)
class Call:
    """One request to the API."""

    service: str
    region: str
    action: str
    """Name of the action, or method and path for services that speak REST."""

    values: dict[str, str]
    body: bytes


class Gate:
    """A WSGI application around moto's."""

    def __init__(self, moto: Application, account: str, open_provider: Callable[[dict[str, str], int], int]) -> None:
        self._moto = moto
        self._account = account
        self._open_provider = open_provider
        self._settings = Settings()
        self._states = States(account)
        self._seeded: set[str] = set()
        self._calls: list[str] = []
        self._operations: set[str] = set()
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        """moto walks through dicts that another thread may add to, and which instance is the newest must be clear."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body = _body(environ)
        if path.startswith("/double/"):
            return self._controlled(path, body, start_response)
        if path == "/moto-api/reset":
            self._seeded.clear()
            self._states.clear()
            self._calls.clear()
            self._operations.clear()
            OPERATIONS.clear()
        call = _call(environ, body)
        with self._one_at_a_time:
            answer = self._moto(environ, start_response) if call is None else self._gated(call, environ, start_response)
        if call is not None:
            time.sleep(self._settings.hold_s.get(call.action, 0))
        return answer

    def _gated(self, call: Call, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._calls.append(call.action)
        if "/" not in call.action:
            self._operations.add(f"{call.service}:{call.action}")
        self._seed(call.region)
        try:
            if call.action in self._settings.refused:
                code = self._settings.refused[call.action]
                raise Refusal(403 if code in DENIED else 400, code, f"{call.action} is refused")
            if call.service == "iam":
                refuse_equal_tag_keys(call.values)
            if call.service == "ec2":
                refuse_tag_keys(call.action, call.values)
                refuse_group_name(call.action, call.values)
                refuse_launch(self._account, call.region, call.action, call.values, self._settings)
                refuse_deletion(self._account, call.region, call.action, call.values)
                self._states.before(call.region, call.action, call.values)
        except Refusal as refusal:
            return _refused(call, refusal, start_response)
        if call.action == "GetServiceQuota":
            return self._quota(call, start_response)
        if call.action == "GetEbsDefaultKmsKeyId":
            return _xml(start_response, call.action, f"<kmsKeyId>{self._settings.default_kms_key}</kmsKeyId>")
        if call.action == "DescribeRegions" and "AllRegions" not in call.values:
            items = "".join(f"<item><regionName>{each}</regionName></item>" for each in self._settings.regions)
            return _xml(start_response, call.action, f"<regionInfo>{items}</regionInfo>")
        answer = self._moto(environ, start_response)
        if call.service == "ec2":
            self._states.after(call.region, call.action, call.values, self._settings)
        return answer

    def _seed(self, region: str) -> None:
        with self._lock:
            if region not in self._seeded:
                self._seeded.add(region)
                seed_parameters(self._account, region, PARAMETERS)

    def _quota(self, call: Call, start_response: Any) -> list[bytes]:
        asked = json.loads(call.body)
        code = asked["QuotaCode"]
        if code not in self._settings.quotas:
            return _refused(call, Refusal(400, "NoSuchResourceException", f"no quota {code}"), start_response)
        quota = {
            "QuotaCode": code,
            "ServiceCode": asked["ServiceCode"],
            "Value": self._settings.quotas[code],
            "Unit": "None",
        }
        return _json(start_response, {"Quota": quota})

    def _controlled(self, path: str, body: bytes, start_response: Any) -> list[bytes]:
        if path == control.CALLS:
            return _json(start_response, self._calls)
        if path == OPERATIONS_PATH:
            return _json(start_response, sorted(self._operations | OPERATIONS))
        if path == launcher.PATH:
            asked = json.loads(body)
            return _json(start_response, self._open_provider(asked["environ"], asked["pid"]))
        if path == PARAMETERS_PATH:
            wanted = json.loads(body)
            self._seed(wanted["region"])
            seed_parameters(self._account, wanted["region"], wanted["values"])
        else:
            self._settings = control.decode(Settings, body)
        return _json(start_response, {})


def _xml(start_response: Any, action: str, inside: str) -> list[bytes]:
    """Answer in the form of EC2."""
    start_response("200 OK", [("Content-Type", "text/xml")])
    return [f"<{action}Response><requestId>d0</requestId>{inside}</{action}Response>".encode()]


def _body(environ: dict[str, Any]) -> bytes:
    """Return the request's body, and keep it readable."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = BytesIO(body)
    return body


def _call(environ: dict[str, Any], body: bytes) -> Call | None:
    """Return the call, with service and region from the signature; None for requests that are not signed."""
    scope = REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    region, service = scope[1], scope[2]
    form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    values = {key: each[0] for key, each in parse_qs(body.decode()).items()} if form else {}
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    action = values.get("Action") or target or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    return Call(service, region, action, values, body)


def _refused(call: Call, refusal: Refusal, start_response: Any) -> list[bytes]:
    status = f"{refusal.status} Refused"
    if call.service == "s3":
        start_response(status, [("Content-Type", "application/xml")])
        text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
        return [text.encode()]
    if call.service in ("ec2", "iam", "sts"):
        error = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
        text = (
            f"<Response><Errors><Error>{error}</Error></Errors><RequestID>d0</RequestID></Response>"
            if call.service == "ec2"
            else f"<ErrorResponse><Error>{error}</Error><RequestId>d0</RequestId></ErrorResponse>"
        )
        start_response(status, [("Content-Type", "text/xml")])
        return [text.encode()]
    start_response(status, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-errortype", refusal.code)])
    return [json.dumps({"__type": refusal.code, "message": refusal.message}).encode()]


def _json(start_response: Any, value: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
    return [json.dumps(value).encode()]
