"""Notices of GCP: `instance/preempted`, and `instance/maintenance-event` for machines that maintenance ends.

Both are asked with `wait_for_change`, so an answer comes as soon as there is something new.
Reference: cloud.google.com/compute/docs/instances/create-use-spot, cloud.google.com/compute/docs/metadata
"""

import threading
from collections.abc import Callable
from http import HTTPStatus

from services.spot_notice.finding import Finding, Seen
from services.spot_notice.metadata import ANSWER_S, SilentError, ask

PREEMPTED = "/computeMetadata/v1/instance/preempted"
MAINTENANCE = "/computeMetadata/v1/instance/maintenance-event"
ENDS = "TERMINATE_ON_HOST_MAINTENANCE"
FLAVOR = "Metadata-Flavor"
WAIT_S = 20
PREEMPTED_S = 30.0
"""From the notice to the end. A longer notice, `preemptionNoticeDuration`, is a beta that our program does not set."""
MAINTENANCE_S = {False: 60.0, True: 3600.0}
"""The same before maintenance, without and with a GPU."""
PAUSE_S = 1.0
SOURCE = "gcp"


class Key:
    """One value of the metadata server, as last seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._etag = ""
        self.value = ""
        self.problem = "the metadata server has not answered yet"

    def wait(self) -> None:
        """Ask once; returns when the value has changed or the wait is over."""
        later = f"?wait_for_change=true&timeout_sec={WAIT_S}&last_etag={self._etag}" if self._etag else ""
        try:
            reply = ask("GET", self._url + later, {FLAVOR: "Google"}, ANSWER_S + (WAIT_S if later else 0))
        except SilentError as error:
            self._etag, self.problem = "", str(error)
            return
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status != HTTPStatus.OK or headers.get(FLAVOR.lower()) != "Google":
            self._etag, self.problem = "", f"the metadata server answers {reply.status}, or is not Google's"
            return
        self._etag, self.value, self.problem = headers.get("etag", ""), reply.text.strip(), ""


class Google:
    """The metadata server of a GCE instance, asked in the background."""

    def __init__(self, base: str, clock: Callable[[], float], *, gpu: bool) -> None:
        self._clock = clock
        self._maintenance_s = MAINTENANCE_S[gpu]
        self._preempted, self._maintenance = Key(base + PREEMPTED), Key(base + MAINTENANCE)
        self._first_seen: dict[str, float] = {}

    def start(self) -> None:
        """Begin to ask."""
        for key in (self._preempted, self._maintenance):
            threading.Thread(target=self._ask_for_ever, args=(key,), daemon=True).start()

    def look(self) -> Seen:
        """Return what was last seen."""
        found = (
            self._finding("preempted", PREEMPTED_S, there=self._preempted.value == "TRUE"),
            self._finding("maintenance", self._maintenance_s, there=self._maintenance.value == ENDS),
        )
        problem = self._preempted.problem or self._maintenance.problem
        return Seen(tuple(each for each in found if each), problem)

    def _finding(self, kind: str, seconds: float, *, there: bool) -> Finding | None:
        if not there:
            self._first_seen.pop(kind, None)
            return None
        at = self._first_seen.setdefault(kind, self._clock())
        return Finding(kind, SOURCE, at, at + seconds, counted=True)

    def _ask_for_ever(self, key: Key) -> None:
        pause = threading.Event()
        while True:
            key.wait()
            pause.wait(PAUSE_S if key.problem else 0.05)
