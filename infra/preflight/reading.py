"""Whether an engine's start leaves the time to read the weights from the data volume."""

from collections.abc import Iterator

from infra.config import DeploymentConfig
from infra.disk_speed import READING_SHARE, reading_s
from infra.finding import Finding
from infra.memory_need import disk_gib

ABOUT = "data volume"


def reading_finding(config: DeploymentConfig, mib_per_s: int, faster: str) -> Iterator[Finding]:
    """Yield how long the weights are read at this speed; `faster` says what to write for more of it."""
    serving = config.serving
    seconds, weights = reading_s(serving, mib_per_s), disk_gib(serving)
    if seconds is None or weights is None:
        return
    what = (
        f"{mib_per_s} MiB/s read {weights:.1f} GiB of weights in {seconds:.0f} s of the {serving.ready_timeout_s} s "
        "that a start may take"
    )
    if seconds <= serving.ready_timeout_s * READING_SHARE + 1:
        yield Finding("ok", ABOUT, what)
        return
    hint = f"write serving.ready_timeout_s: {round(seconds / READING_SHARE + 49, -2):.0f}, or {faster}"
    yield Finding("warning", ABOUT, what, hint)
