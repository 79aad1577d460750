"""Whether an engine can read its weights from the data volume before its start times out."""

from collections.abc import Iterator

from infra.clouds.disk_speed import READING_SHARE, reading_s, reading_words
from infra.clouds.finding import Finding
from infra.config import DeploymentConfig

ABOUT = "data volume"


def reading_finding(config: DeploymentConfig, mib_per_s: int, faster: str) -> Iterator[Finding]:
    """Yield how long reading the weights takes at this speed; `faster` says how to get more speed."""
    serving = config.serving
    seconds, what = reading_s(serving, mib_per_s), reading_words(serving, mib_per_s)
    if seconds is None or what is None:
        return
    if seconds <= serving.ready_timeout_s * READING_SHARE + 1:
        yield Finding("ok", ABOUT, what)
        return
    hint = f"write serving.ready_timeout_s: {round(seconds / READING_SHARE + 49, -2):.0f}, or {faster}"
    yield Finding("warning", ABOUT, what, hint)
