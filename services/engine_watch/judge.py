"""Decides from a row of looks whether the engine works, is slow, or hangs. Pure: no clock, no file, no network.

Slow is not dead. An engine hangs if it has work and nothing moves: no counter of its metrics, no processor time, no
GPU. Three cases need a rule of their own:

- A process that a signal or a debugger stopped never goes on by itself, also if it has no work just now.
- A thread that waits for a processor or its page from the disk is slow: the host is overloaded.
- A long prefill on a CPU, and a kernel that never ends on a GPU, look alike: processors or GPU are busy, and no counter
  moves. vLLM computes a prompt in parts of at most `max_num_batched_tokens`, and after each part its share of used
  cache moves. So a bound on the time of one part tells them apart (`burning_s`; the role chooses it).
  Ollama has no counters, and no such bound.
"""

from dataclasses import dataclass, replace

from services.engine_watch.processes import Process, computing

STOPPED_LOOKS = 2
"""A debugger that reads a stack stops a process for milliseconds; one look may meet that."""
STILL_S = 3.0
STILL_LOOKS = 3
SILENT_LOOKS = 2
"""A look without an answer takes as long as its question may."""
SILENT_S = 60.0
"""How long metrics may be late while the process that serves them computes: it also splits long prompts into tokens."""
IDLE_SHARE = 0.03
"""An engine without work uses less than this share of one processor."""
GAP_S = 8.0
"""After a longer gap between two looks, the watcher itself got no processor. Nothing from before it counts."""


@dataclass(frozen=True)
class Look:
    """The engine at one time."""

    at: float
    processes: tuple[Process, ...]
    answer: str
    """Of the metrics: `yes`, `refused` (nobody listens) or `silent` (no answer in time)."""
    busy: bool = False
    """Whether the engine has work, by its own numbers or because our own request waits."""
    mark: tuple[str, ...] = ()
    """Changes whenever the engine has computed something."""
    gpu_busy: bool | None = None
    """None: no GPU, or not asked."""


@dataclass(frozen=True)
class Verdict:
    """The judgement on one look."""

    kind: str
    """works, absent, closed, hangs."""
    reason: str = ""


@dataclass(frozen=True)
class Memory:
    """What earlier looks left."""

    look: Look | None = None
    stopped: int = 0
    """Looks in a row that met a stopped process."""
    moved_at: float = 0.0
    """When the engine had no work, or a counter moved."""
    computed_at: float = 0.0
    """When its computing processes used processor or GPU, or waited for a processor."""
    used_at: float = 0.0
    """The same, of all its processes."""
    answered_at: float = 0.0
    unmoved: int = 0
    """Looks in a row in which the engine had work and no counter moved."""
    unanswered: int = 0
    """Looks in a row without metrics."""
    served: bool = False
    """Whether this start of the engine has answered at all. Until then it loads its model, which may take long."""

    @property
    def doubtful(self) -> bool:
        """Whether the next look should also ask the GPU."""
        return self.look is not None and self.look.busy and self.look.at > self.moved_at


def judge(memory: Memory, look: Look, burning_s: float) -> tuple[Memory, Verdict]:
    """Return the verdict on `look`, and what to remember for the next."""
    seen = _remembered(memory, look)
    return seen, _verdict(seen, look, burning_s)


def _remembered(memory: Memory, look: Look) -> Memory:
    before = memory.look
    if before is None or look.at - before.at > GAP_S or _main(before) != _main(look):
        again = before is not None and _main(before) == _main(look) and memory.served
        served = look.answer == "yes" or again
        return Memory(look, int(_stopped(look)), look.at, look.at, look.at, look.at, served=served)
    answered = look.answer == "yes"
    # Without metrics nobody knows; then the silence itself is judged.
    moved = not (answered and look.busy and before.busy and look.mark == before.mark)
    computed = look.gpu_busy is True or _advanced(computing(before.processes), computing(look.processes), look, before)
    used = computed or _advanced(before.processes, look.processes, look, before)
    return replace(
        memory,
        look=look,
        stopped=memory.stopped + 1 if _stopped(look) else 0,
        moved_at=look.at if moved else memory.moved_at,
        computed_at=look.at if computed else memory.computed_at,
        used_at=look.at if used else memory.used_at,
        answered_at=look.at if answered else memory.answered_at,
        unmoved=0 if moved else memory.unmoved + 1,
        unanswered=0 if answered else memory.unanswered + 1,
        served=memory.served or answered,
    )


def _verdict(seen: Memory, look: Look, burning_s: float) -> Verdict:
    if not look.processes:
        return Verdict("absent", "the engine does not run")
    if not seen.served:
        return Verdict("closed", "the engine is starting")
    hang = _hang(seen, look, burning_s)
    if hang:
        return Verdict("hangs", hang)
    return Verdict("closed", "the engine's port is closed") if look.answer == "refused" else Verdict("works")


def _hang(seen: Memory, look: Look, burning_s: float) -> str:
    """Return why the engine counts as hanging; empty if it does not."""
    silent_s, waits_s = look.at - seen.answered_at, look.at - seen.moved_at
    still_s, unused_s = look.at - seen.computed_at, look.at - seen.used_at
    if seen.stopped >= STOPPED_LOOKS:
        names = " and ".join(sorted({each.name for each in look.processes if each.stopped}))
        return f"{names} is stopped by a signal or a debugger"
    if look.answer == "refused":
        return ""
    if silent_s >= SILENT_S or (seen.unanswered >= SILENT_LOOKS and silent_s >= STILL_S and unused_s >= STILL_S):
        return f"gives no metrics for {silent_s:.0f} s"
    if seen.unmoved >= STILL_LOOKS and waits_s >= STILL_S and still_s >= STILL_S:
        return f"has work and nothing moves for {min(waits_s, still_s):.0f} s"
    # Without counters nobody sees results: an answer of many minutes looks like a kernel that never ends.
    endless = bool(look.mark) and waits_s >= burning_s
    return f"computes for {waits_s:.0f} s without a result" if endless else ""


def _main(look: Look) -> tuple[int, int] | None:
    """Return what tells one start of the engine from another."""
    return (look.processes[0].pid, look.processes[0].start) if look.processes else None


def _stopped(look: Look) -> bool:
    return any(each.stopped for each in look.processes)


def _advanced(before: tuple[Process, ...], now: tuple[Process, ...], look: Look, last: Look) -> bool:
    """Return whether processes used processor time, or would if they got a processor."""
    if any(each.wants_processor and not each.stopped for each in now):
        return True
    earlier = {(each.pid, each.start): each.cpu_s for each in before}
    used = sum(each.cpu_s - earlier.get((each.pid, each.start), 0.0) for each in now)
    return used > IDLE_SHARE * (look.at - last.at)
