"""The loop: ask the cloud twice a second, write the notice, and ask for the engine's stop before the machine ends.

The host's last records are sent by a unit of their own (programs/host/send_records.py), once when the host drains and
once when its engine stops. Nothing here waits for it.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from services.spot_notice.amazon import Amazon
from services.spot_notice.finding import Finding, Seen, as_first_seen, draining
from services.spot_notice.google import Google
from services.spot_notice.settings import Settings
from services.systemd import notify

LOOK_EVERY_S = 0.5
STOP_BEFORE_S = 10.0
"""The engine stops this long before the machine ends; until then running requests go on."""
CANCELLED_LOOKS = 6
"""A notice that is gone in so many looks in a row was taken back."""
NOTICE = "notice.json"
ADVICE = "recommendation.json"
STOP = "stop"
SEND = "send"
"""Asks for the records to be sent."""
SENT = "sent.json"
"""What came of that."""


class Watch:
    """What one host knows of its end. `step` is one look; tests give it another cloud and clock."""

    def __init__(self, settings: Settings, look: Callable[[], Seen], clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._look = look
        self._clock = clock
        self._folder = Path(settings.notice_dir)
        self._notice = self._written(NOTICE)
        recommendation = self._written(ADVICE)
        self._earlier = tuple(each for each in (self._notice, recommendation) if each)
        self._gone = 0
        self._problem = ""
        self._stop_asked = False
        self._sent = ""
        self.state = "no notice"
        """For people, in one line."""

    def step(self) -> None:
        """Ask the cloud once, and do what follows."""
        seen, now = self._look(), self._clock()
        on_advice = self._settings.drain_on_rebalance
        findings = [as_first_seen(each, self._earlier, now) for each in seen.findings]
        self._keep_notice(seen, draining(findings, now, on_advice=on_advice))
        notice = self._notice
        shown = [each for each in findings if notice is None]
        self._write(ADVICE, shown[0] if shown else None)
        ends = notice is not None and notice.deadline is not None and now >= notice.deadline - STOP_BEFORE_S
        if ends and not self._gone and not self._stop_asked:
            self._stop_asked = True
            (self._folder / STOP).touch()
            say("asks for the engine's stop")
            self._send_records()
        if seen.problem != self._problem:
            say(seen.problem or "the metadata service answers again")
            self._problem = seen.problem
        self.state = words(notice, shown, seen.problem) + (self._look_at_sent() if notice else "")

    def _keep_notice(self, seen: Seen, found: Finding | None) -> None:
        """Write a new notice; remove one that the cloud took back. A service that is silent takes nothing back."""
        if found is not None:
            self._gone = 0
            if found != self._notice:
                self._notice = found
                self._write(NOTICE, found)
                say(words(found, [], ""))
                self._send_records()
        elif not seen.problem:
            self._gone += 1
            if self._gone >= CANCELLED_LOOKS and not self._stop_asked:
                if self._notice is not None:
                    self._notice = None
                    self._earlier = ()
                    say("the notice was taken back")
                self._write(NOTICE, None)
                self._write(SENT, None)

    def _written(self, name: str) -> Finding | None:
        """Return what this service wrote before it was started again; None if there is nothing to read."""
        try:
            return Finding(**json.loads((self._folder / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _send_records(self) -> None:
        if self._settings.sends_records:
            (self._folder / SEND).touch()

    def _look_at_sent(self) -> str:
        """Return what came of the records, as the end of a line; write it into the journal once."""
        try:
            said = json.loads((self._folder / SENT).read_text(encoding="utf-8"))
            text = f"; its records are in {said['folder']}" if said["folder"] else ""
            text += f"; not sent: {said['problem']}" if said["problem"] else ""
        except FileNotFoundError:
            text = ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            text = f"; what came of its records cannot be read: {error}"
        if text != self._sent:
            self._sent = text
            say(text.removeprefix("; "))
        return text

    def _write(self, name: str, finding: Finding | None) -> None:
        path = self._folder / name
        if finding is None:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        text = json.dumps(finding.as_json()) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            staged = path.with_suffix(".new")
            staged.write_text(text, encoding="utf-8")
            os.replace(staged, path)  # noqa: PTH105


def words(notice: Finding | None, advice: list[Finding], problem: str) -> str:
    """Return the state in one line."""
    if notice is not None:
        end = f" at {_clock_time(notice.deadline)}" if notice.deadline else ""
        return f"{notice.source} takes the machine back{end}: {notice.kind}"
    if advice:
        return f"{advice[0].source} says {advice[0].kind}; the host goes on serving"
    return f"cannot ask the cloud: {problem}" if problem else "no notice"


def _clock_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%H:%M:%S UTC")


def say(text: str) -> None:
    """Write one line into the journal."""
    print(text, file=sys.stderr, flush=True)


def main(settings_file: str) -> int:
    """Watch for ever."""
    settings = Settings.read(settings_file)
    look: Callable[[], Seen]
    if settings.cloud == "aws":
        look = Amazon(settings.metadata, time.time).look
    else:
        google = Google(settings.metadata, time.time, gpu=settings.gpu)
        google.start()
        look = google.look
    watch = Watch(settings, look)
    notify(READY="1")
    while True:
        watch.step()
        notify(WATCHDOG="1", STATUS=watch.state)
        time.sleep(LOOK_EVERY_S)
