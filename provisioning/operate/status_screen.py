"""One host's status as one screen; `!` marks what needs attention."""

from collections.abc import Iterator
from typing import NamedTuple

from provisioning.operate.host_status import GpuState, HostStatus, LoadedModel, Tokens
from provisioning.operate.unit_state import CAME_BACK

CERTIFICATE_SOON_DAYS = 14
LITTLE = 0.1
"""A disk or memory with a smaller share free is marked."""
CLOCK_WRONG_S = 30
"""A larger difference is marked: logs of two hosts cannot be compared. Certificates and apt tolerate more."""
TROUBLE = ("keeps requests away", "drains", "no token", "cannot ask", "takes the machine back")
"""What our services say (services/*/) that needs attention."""
ENGINE_NAME = {"vllm": "vLLM", "ollama": "Ollama"}
STATES = {
    "UP": "takes requests",
    "DOWN": "the gateway's check fails",
    "DRAIN": "takes no new requests",
    "MAINT": "takes no requests: no provision of it has succeeded yet",
    "UNKNOWN": "takes no requests: the gateway learns of it with the next provision",
}
"""HAProxy's states of a host behind the gateway, in plain words."""
PASSING = {
    "stopping": "is stopping: running requests finish first",
    "starting": "is starting: it loads its models",
    "restarting": "died; systemd starts it again in a moment",
}
"""What systemd is doing with the engine, in plain words."""


LABEL_WIDTH = 18
"""The least: a host with a unit of a longer name has a wider column."""


class Line(NamedTuple):
    """One line: what it is about, and its state."""

    label: str
    words: str
    bad: bool


def screen(status: HostStatus) -> str:
    """Return the lines."""
    if status.error:
        return f"✗ {status.error}"
    head = f"{'✓' if status.serves else '✗'} {status.host} ({status.address})"
    parts = (_units, _engine, _gateway, _providers, _gpus, _space, _system, _trouble)
    lines = [line for part in parts for line in part(status)]
    width = max([LABEL_WIDTH, *(len(line.label) for line in lines)])
    return "\n".join([head, *(f"{'!' if bad else ' '} {label:<{width}} {words}" for label, words, bad in lines)])


def _line(label: str, words: str, *, bad: bool = False) -> Line:
    return Line(label, words, bad)


def _units(status: HostStatus) -> Iterator[Line]:
    for unit in status.units:
        since = f" since {unit.since}" if unit.since else ""
        state, comma, often = unit.words.partition(CAME_BACK)  # `since` belongs to the state
        says = f"; {unit.says}" if unit.active and unit.says else ""
        bad = not unit.active or any(mark in says for mark in TROUBLE)
        yield _line(unit.name.removesuffix(".service"), f"{state}{since}{comma}{often}{says}", bad=bad)
    for name, words in status.lost:
        yield _line(name, f"{words}; `make provision` loads it again", bad=True)
    for words in status.closed_by:
        yield _line("firewall", words, bad=True)


def _engine(status: HostStatus) -> Iterator[Line]:
    if not status.engine_on_loopback:
        return
    if status.models is None and status.engine_wanted and not status.engine_installed:
        yield _line("engine", "not installed", bad=True)
        return
    if status.engine_passing:
        yield _line("engine", PASSING[status.engine_passing], bad=True)
        return
    if status.models is None:
        yield _line("models", "the engine does not answer", bad=True)
        return
    before = f"; {status.former_version} is kept for a rollback" if status.former_version else ""
    yield _line("engine", f"{ENGINE_NAME[status.engine]} {status.engine_version}{before}")
    missing = f"; missing: {', '.join(status.missing_models)}" if status.missing_models else ""
    base = [name for name in status.models if name not in status.adapters]
    yield _line("models", ", ".join(base) + missing, bad=bool(missing))
    if status.tokens is not None:
        yield _tokens(status.tokens)
    if status.licence:
        yield _line("licence", status.licence)
    if status.adapters:
        yield _line("adapters", ", ".join(status.adapters))
    for model in status.loaded:
        yield _loaded(model, gpu_wanted=status.gpu_wanted)


def _tokens(tokens: Tokens) -> Line:
    if tokens.busy:
        return _line("token", f"{tokens.problem}; the engine is busy with other requests", bad=True)
    if tokens.problem:
        return _line("token", f"{tokens.problem}; the engine answers but computes nothing", bad=True)
    return _line("token", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in tokens.seconds.items()))


def _loaded(model: LoadedModel, *, gpu_wanted: bool) -> Line:
    where = f"{model.gpu_percent} % on the GPU" if model.gpu_percent or gpu_wanted else "on the CPU"
    return _line("loaded", f"{model.name}: {model.gib:.1f} GiB, {where}", bad=gpu_wanted and model.gpu_percent < 100)  # noqa: PLR2004


def _gateway(status: HostStatus) -> Iterator[Line]:
    if not status.gateway_wanted:
        return
    queue = status.queue
    if queue is None:
        yield _line("queue", "no gateway is running", bad=True)
    else:
        words = f"{queue.running} of {queue.max_running} running, {queue.waiting} of {queue.max_waiting} waiting"
        down = not queue.engine.startswith("UP")
        yield _line(
            "queue", f"{words}{f'; the gateway reports the engine as {queue.engine}' if down else ''}", bad=down
        )
        if not status.engine_on_loopback:
            for host, state in queue.hosts.items():
                why = f": {queue.why[host]}" if host in queue.why else ""
                yield _line(host, STATES.get(state.split()[0], state) + why, bad=not state.startswith("UP"))
    days = status.certificate_days
    words = "unknown: the gateway does not answer" if days is None else f"{days} days left"
    yield _line("certificate", words, bad=days is None or days < CERTIFICATE_SOON_DAYS)


def _providers(status: HostStatus) -> Iterator[Line]:
    for name, why in status.unresolved.items():
        yield _line("overflow", f"{name} has no address: {why}; check the provider's url", bad=True)
    for each in status.providers:
        yield _line("overflow", f"{each.name}: {each.words}", bad=each.failing)


def _gpus(status: HostStatus) -> Iterator[Line]:
    if status.gpu_wanted and not status.gpus:
        yield _line("gpu", "nvidia-smi finds no GPU: the driver is missing or does not match the kernel", bad=True)
    for gpu in status.gpus:
        yield _line("gpu", _gpu_words(gpu), bad=gpu.used_gib is None)
    if status.fabric is not None:
        yield _line("fabric", status.fabric.words, bad=bool(status.fabric.problem))


def _gpu_words(gpu: GpuState) -> str:
    used = "?" if gpu.used_gib is None else f"{gpu.used_gib:.1f}"
    total = "?" if gpu.total_gib is None else f"{gpu.total_gib:.1f}"
    busy = "" if gpu.busy_percent is None else f", {gpu.busy_percent:.0f} % busy"
    heat = "" if gpu.celsius is None else f", {gpu.celsius:.0f} °C"
    return f"{gpu.name}: {used} of {total} GiB used{busy}{heat}, driver {gpu.driver}"


def _space(status: HostStatus) -> Iterator[Line]:
    for each in status.space:
        words = f"{each.free_gib:.1f} of {each.total_gib:.1f} GiB free"
        full = each.free_gib < LITTLE * each.total_gib
        yield _line(each.name, words, bad=full and each.name != "swap")  # used swap is normal


def _system(status: HostStatus) -> Iterator[Line]:
    ahead_s = status.clock_ahead_s
    if ahead_s is not None and abs(ahead_s) > CLOCK_WRONG_S:
        yield _line("clock", f"{_duration(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}", bad=True)
    if status.reboot_pending:
        why = ", ".join(status.reboot_needed_by) or "updates"
        yield _line("reboot", f"pending, for {why}", bad=True)


def _duration(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills."""
    for size_s, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {name}"
    return f"{seconds:.0f} seconds"


def _trouble(status: HostStatus) -> Iterator[Line]:
    if status.oom_kills:
        yield _line("memory", f"ran out: {status.oom_kills} processes killed since the last boot", bad=True)
    for alert in status.alerts:
        yield _line("alert", f"{alert.name} ({alert.severity}): {alert.summary} {alert.do}".rstrip(), bad=True)
    for text in status.last_errors:
        yield _line("error", text, bad=True)
    for name, reason in status.unseen.items():
        yield _line(name, f"could not be checked: {reason}", bad=True)
