"""Notices of AWS: IMDSv2's `spot/instance-action` and `events/recommendations/rebalance`.

Version 1 of the service, without a token, is never used.
Reference: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from http import HTTPStatus

from services.spot_notice.finding import Finding, Seen
from services.spot_notice.metadata import Reply, SilentError, ask

TOKEN = "/latest/api/token"  # noqa: S105  # a path
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
TOKEN_S = 21600
RENEW_S = 3600.0
SOURCE = "aws"


class Amazon:
    """The metadata service of an EC2 instance."""

    def __init__(self, base: str, clock: Callable[[], float]) -> None:
        self._base = base
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0
        self._first_seen: dict[str, float] = {}

    def look(self) -> Seen:
        """Ask for both notices."""
        try:
            action, rebalance = self._get(ACTION), self._get(REBALANCE)
        except (SilentError, PermissionError) as error:
            return Seen(problem=str(error))
        found = (self._of_action(action), self._of_rebalance(rebalance))
        failed = next((each for each in (action, rebalance) if each.status not in (200, 404)), None)
        problem = f"the metadata service answers {failed.status}" if failed else ""
        return Seen(tuple(each for each in found if each), problem)

    def _get(self, path: str) -> Reply:
        reply = self._with_token(path)
        if reply.status == HTTPStatus.UNAUTHORIZED:  # the token ended earlier than it said, e.g. after a pause
            self._token = ""
            reply = self._with_token(path)
        return reply

    def _with_token(self, path: str) -> Reply:
        """Raises PermissionError if there is no token."""
        if not self._token or self._clock() >= self._renew_at:
            asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
            reply = ask("PUT", self._base + TOKEN, asked)
            if reply.status != HTTPStatus.OK or not reply.text.isprintable() or not reply.text:
                raise PermissionError(f"the metadata service refuses a token: {reply.status}")
            self._token, self._renew_at = reply.text, self._clock() + TOKEN_S - RENEW_S
        return ask("GET", self._base + path, {"X-aws-ec2-metadata-token": self._token})

    def _of_action(self, reply: Reply) -> Finding | None:
        """Return the end of the machine. An answer that cannot be read is one too, with an unknown time."""
        if reply.status != HTTPStatus.OK:
            self._first_seen.pop("action", None)
            return None
        at = self._first_seen.setdefault("action", self._clock())
        try:
            said = json.loads(reply.text)
            return Finding(str(said["action"]), SOURCE, at, _time(said["time"]))
        except (ValueError, KeyError, TypeError):
            return Finding("unreadable notice", SOURCE, at)

    def _of_rebalance(self, reply: Reply) -> Finding | None:
        if reply.status != HTTPStatus.OK:
            self._first_seen.pop("rebalance", None)
            return None
        at = self._first_seen.setdefault("rebalance", self._clock())
        return Finding("rebalance", SOURCE, at, advice=True)


def _time(text: str) -> float:
    """Return a time such as 2026-11-30T08:22:00Z in seconds since 1970."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
