"""Requests to S3, signed with the host's own role or with the keys of this run (AWS Signature Version 4).

Keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else the instance profile's keys from the metadata
service (IMDSv2). Without keys only a public bucket can be read. AWS_ENDPOINT_URL_S3 names another server.
Reference: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from .errors import InterruptedTransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Keys = tuple[str, str, str]
    """Id, secret, session token."""

METADATA = "http://169.254.169.254"
METADATA_S = 2
"""Timeout of the metadata service: outside AWS nothing answers at its address."""

TIMEOUT_S = 30
EMPTY = hashlib.sha256(b"").hexdigest()
DEFAULT_REGION = "us-east-1"

_regions: dict[str, str] = {}


def request(method: str, bucket: str, key: str, body: bytes | None = None) -> urllib.request.Request:
    """Return the signed request for one object; with PUT, `body` becomes its content."""
    url = object_url(bucket, key)
    keys = _keys()
    made = urllib.request.Request(url, data=body, method=method)  # noqa: S310  # S3, or what AWS_ENDPOINT_URL_S3 names
    if keys is None:
        return made
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body or b"").hexdigest()
    for name, value in signed_headers(method, url, keys, region_of(bucket), moment, digest).items():
        made.add_unredirected_header(name, value)
    return made


def object_url(bucket: str, key: str) -> str:
    """Return the URL of one object."""
    own = os.environ.get("AWS_ENDPOINT_URL_S3", "").rstrip("/")
    path = urllib.parse.quote(key)
    if own:
        return f"{own}/{bucket}/{path}"
    # Amazon's certificate does not cover a name with dots, so the name goes into the path.
    host = f"s3.{region_of(bucket)}.amazonaws.com"
    return f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"


def signed_headers(  # noqa: PLR0917  # the parts of a signature
    method: str, url: str, keys: Keys, region: str, moment: str, digest: str = EMPTY
) -> dict[str, str]:
    """Return the headers that sign a request made at `moment`, e.g. 20130524T000000Z; `digest`: SHA-256 of its body."""
    parts = urllib.parse.urlsplit(url)
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": moment}
    if keys[2]:
        headers["x-amz-security-token"] = keys[2]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, parts.path, "", lines, names, digest))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    secret = ("AWS4" + keys[1]).encode()
    for word in scope.split("/"):
        secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    del headers["host"]
    credential = f"Credential={keys[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": "AWS4-HMAC-SHA256 " + credential}


def region_of(bucket: str) -> str:
    """Return the bucket's region: AWS_REGION, or S3's answer, which needs no right to read the bucket."""
    if os.environ.get("AWS_REGION"):
        return os.environ["AWS_REGION"]
    if os.environ.get("AWS_ENDPOINT_URL_S3"):
        return DEFAULT_REGION
    if bucket not in _regions:
        asked = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
        try:
            with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310
                headers = answer.headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        except OSError as error:
            raise InterruptedTransferError(f"cannot reach S3 ({getattr(error, 'reason', error)})") from error
        _regions[bucket] = headers.get("x-amz-bucket-region") or DEFAULT_REGION
    return _regions[bucket]


def _keys() -> Keys | None:
    """Return the keys to sign with; None without keys. Each call queries them, because a role's keys expire."""
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if key_id and secret:
        return (key_id, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    try:
        token = _metadata("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
        known = {"X-aws-ec2-metadata-token": token}
        place = "/latest/meta-data/iam/security-credentials/"
        role = _metadata("GET", place, known).split()[0]
        found = json.loads(_metadata("GET", place + role, known))
        return (found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _metadata(method: str, path: str, headers: dict[str, str]) -> str:
    """Return the answer of the instance's metadata service. Raises OSError if there is none."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA).rstrip("/")
    asked = urllib.request.Request(base + path, headers=headers, method=method)  # noqa: S310  # link-local
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(asked, timeout=METADATA_S) as answer:
        return str(answer.read().decode())
