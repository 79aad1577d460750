"""The screen of `make top`. A dash means that nobody knows; 0 means none. Words carry what colours say."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from core.console import plain
from provisioning.operate.top.values import NO_CLASS, ClassRow, HostRow, Spend, Top

BAD, WARN, GOOD, DIM = "bold red", "yellow", "green", "dim"

NARROW = 72
"""Columns of a terminal below which the less important columns are left out."""

SPEND_HIGH = 0.8
"""Share of a cap from which the spend is marked, as in the alert."""

SHARE_EXCEEDED = "share_exceeded"

WAITS_LONG_S = 5
UNKNOWN = "-"


def screen(top: Top, *, clock: str, width: int) -> RenderableType:
    """Return the whole screen for a terminal of `width` columns."""
    return Group(*_parts(top, clock, narrow=width < NARROW))


def _parts(top: Top, clock: str, *, narrow: bool) -> Iterator[RenderableType]:
    yield _head(top, clock)
    yield Text()
    yield _hosts(top, narrow=narrow)
    yield Text()
    yield _classes(top, narrow=narrow)
    if top.failures:
        yield Text(f"failed: {_counts(top.failures)}", style=BAD)
    if top.reasons:
        yield Text(f"refused: {_counts(top.reasons)}", style=WARN)
    if SHARE_EXCEEDED in top.reasons and top.spend:
        yield Text(f"{SHARE_EXCEEDED}: a client above its share never goes to a provider; give it a larger `share`")
    if top.spend:
        yield Text()
        yield _spend(top.spend)
    for each in top.providers:
        if each.failing:
            yield Text(f"! provider {plain(each.name)}: {plain(each.words)}", style=BAD)
    for host in top.hosts:
        if host.error:
            yield Text(f"! {host.name}: {plain(host.error)}", style=BAD)
    for part, why in top.unseen.items():
        yield Text(f"! {plain(part)} could not be read: {plain(why)}", style=WARN)


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {plain(reason)}" for reason, count in reasons.items())


def _head(top: Top, clock: str) -> Text:
    """Return the line with the totals; what is wrong comes first."""
    down = [host.name for host in top.hosts if not host.state.startswith(("UP", "DRAIN"))]
    errors = sum(row.errors for row in top.classes)
    requests = sum(row.requests for row in top.classes)
    head = Text.assemble((plain(top.stack), "bold"), f"  {clock}  ")
    if down:
        head.append(f"{len(down)} of {len(top.hosts)} hosts not up  ", style=BAD)
    if errors:
        head.append(f"{errors} of {requests} requests failed", style=BAD)
    head.append("\n")
    queue = "" if top.waiting is None else f"{top.waiting} waiting"
    head.append(queue or "queue unknown", style=WARN if top.waiting or top.waiting is None else "")
    head.append(f"  {_count(top.running)} of {_count(top.places)} places taken")
    head.append(f"  {_number(top.answer_tokens_s)} tokens/s")
    return head


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=DIM)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < 1 else "right", no_wrap=True, overflow="ellipsis")
    return table


def _hosts(top: Top, *, narrow: bool) -> Table:
    names = ("host", "state", "running/places", "out tok/s") + (() if narrow else ("in tok/s", "KV cache", "adapters"))
    table = _table(*names)
    table.columns[1].justify = "left"
    if not narrow:  # the names of adapters are the longest, so they wrap and the rest stays whole
        table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for host in top.hosts:
        cells: list[str | Text] = [
            plain(host.name),
            Text(_state(host), style=_state_style(host)),
            f"{_count(host.running)}/{_count(host.places)}",
            _number(host.answer_tokens_s),
        ]
        if not narrow:
            cells += [_number(host.prompt_tokens_s), _percent(host.cache), _adapters(host)]
        table.add_row(*cells)
    return table


def _state(host: HostRow) -> str:
    """Return the state in words; HAProxy adds `1/3` while checks go wrong."""
    return "unknown" if host.state == "?" else plain(host.state)


def _state_style(host: HostRow) -> str:
    if host.state.startswith("UP"):
        return GOOD
    return WARN if host.state.startswith(("DRAIN", "?")) else BAD


def _adapters(host: HostRow) -> str:
    if host.adapters is None:
        return UNKNOWN
    return ", ".join(map(plain, host.adapters)) or "none"


def _classes(top: Top, *, narrow: bool) -> Table:
    names = ("class", "waiting", "requests", "failed", "refused", "first p50", "first p95")
    table = _table(*names, *(() if narrow else ("wait p95",)))
    table.title = f"waiting now, and ended in the last {top.window_s} s"
    table.title_justify = "left"
    table.title_style = DIM
    for row in top.classes:
        table.add_row(*_class_cells(row, narrow=narrow))
    if not top.classes:
        table.add_row("no requests" if top.waiting is not None else "no gateway answers")
    return table


def _class_cells(row: ClassRow, *, narrow: bool) -> Iterator[str | Text]:
    yield "no class" if row.name == NO_CLASS else plain(row.name)
    yield Text(_count(row.waiting), style=WARN if row.waiting else "")
    yield str(row.requests)
    yield Text(str(row.errors), style=BAD if row.errors else "")
    yield Text(str(row.refused), style=WARN if row.refused else "")
    yield _seconds(row.first_p50_s)
    yield _seconds(row.first_p95_s)
    if not narrow:
        yield Text(_seconds(row.wait_p95_s), style=WARN if (row.wait_p95_s or 0) > WAITS_LONG_S else "")


def _spend(spends: tuple[Spend, ...]) -> Table:
    table = _table("overflow", "period", "spent USD", "cap USD", "used")
    for each in spends:
        used = each.spent_usd / each.cap_usd if each.cap_usd else None
        style = BAD if used is not None and used >= 1 else WARN if used is not None and used >= SPEND_HIGH else ""
        cap = UNKNOWN if each.cap_usd is None else f"{each.cap_usd:.2f}"
        spent = f"{each.spent_usd:.4f}"
        table.add_row(plain(each.provider), plain(each.period), spent, cap, Text(_percent(used), style=style))
    return table


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"  # noqa: PLR2004


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
