"""The part of the demo that shows which alerts fired, as a table and as a page.

Asks the Prometheus on the gateway's machine, over SSH: it listens on loopback only.
"""

import html
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from core.console import say, show
from core.errors import DeployError
from core.files import write_atomically
from core.ports import PROMETHEUS_PORT
from core.runs import write_result
from core.waiting.condition import wait_until
from tools.pool_client import fab
from tools.pool_overflow import outputs_of

EXPECTED = "OverflowSpendHigh"
"""The alert that this demo causes: the provider took more than 80 % of the cap."""
DEAD_HOST = "EngineOut"
"""The alert about the machine that died. On a fast computer it is back before that fires; then the page says so."""
FIRES_S = 120
LOOK_BACK_S = 6 * 3600
STEP_S = 15
COLUMNS = ("alert", "severity", "about", "from", "to", "what to do")
NOT_ABOUT = ("__name__", "alertname", "alertstate", "severity", "job", "instance")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Alerts of {stack}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .5rem .75rem; border-bottom: 1px solid #8886 }}
td:nth-child(4), td:nth-child(5) {{ font-variant-numeric: tabular-nums }}
@media (max-width: 48rem) {{
  thead {{ display: none }}
  tr, td {{ display: block }}
  tr {{ padding: .75rem 0; border-bottom: 1px solid #8886 }}
  td {{ padding: 0; border: 0; overflow-wrap: anywhere }}
  td::before {{ content: attr(data-column) ": "; font-weight: 600 }}
}}
</style></head><body>
<h1>Alerts of {stack}</h1>
<p>Alerts that fired, from the Prometheus on the gateway's machine. Times are UTC. Made at {made}.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


@dataclass(frozen=True)
class Fired:
    """An alert that fired for one thing. Times are seconds since 1970; without the last one it still fires."""

    name: str
    severity: str
    about: str
    first: float
    last: float | None
    do: str
    fires: bool = True
    """False for an alert that ended before it fired, or does not fire yet."""

    def cells(self) -> tuple[str, ...]:
        """Return the row of a table."""
        if self.fires:
            end = "still fires" if self.last is None else _clock(self.last)
        else:
            end = "does not fire yet" if self.last is None else f"{_clock(self.last)}, before it fired"
        return (self.name, self.severity, self.about, _clock(self.first), end, self.do)


def show_alerts(stack: str) -> int:
    """Print the alerts that fired, and write them as a page. Raises DeployError if the one for spending did not."""
    found: list[Fired] = []

    def fired() -> bool | None:
        found[:] = alerts_of(stack)
        return any(alert.name == EXPECTED and alert.fires for alert in found) or None

    hint = f"see `make ssh STACK={stack} HOST={_gateway(stack)} ARGS='--forward {PROMETHEUS_PORT}'`"
    late = DeployError(f"{EXPECTED} did not fire within {FIRES_S} s", where="demo", hint=hint)
    wait_until(fired, deadline_s=FIRES_S, late=lambda: late, pause_s=3)
    show("\n".join(table(found)))
    rows = [dict(zip(COLUMNS, alert.cells(), strict=True)) for alert in found]
    result = write_result(stack, "alerts.json", {"stack": stack, "ok": True, "alerts": rows})
    file = result.with_suffix(".html")
    write_atomically(file, page(stack, found))
    say(f"the same as a page: {file}")
    return 0


def alerts_of(stack: str) -> list[Fired]:
    """Return the alerts that fired in the last hours, and the dead host's in any case, the first one first."""
    now = int(time.time())
    span = {"start": now - LOOK_BACK_S, "end": now, "step": STEP_S}
    query = f'ALERTS{{alertstate="firing"}} or ALERTS{{alertname="{DEAD_HOST}"}}'
    series = _ask(stack, "query_range", {"query": query, **span})["result"]
    groups = _ask(stack, "rules", {"type": "alert"})["groups"]
    do = {rule["name"]: rule["annotations"].get("do", "") for group in groups for rule in group["rules"]}
    found = [_fired(each, do, now) for each in series]
    fired = {(each.name, each.about) for each in found if each.fires}
    shown = (each for each in found if each.fires or (each.name, each.about) not in fired)
    return sorted(shown, key=lambda alert: (alert.first, alert.name))


def _fired(series: Mapping[str, Any], do: Mapping[str, str], now: float) -> Fired:
    labels, times = series["metric"], [float(value[0]) for value in series["values"]]
    about = ", ".join(f"{name} {value}" for name, value in sorted(labels.items()) if name not in NOT_ABOUT)
    name = labels["alertname"]
    last = max(times) if now - max(times) > 2 * STEP_S else None
    fires = labels["alertstate"] == "firing"
    return Fired(name, labels.get("severity", ""), about, min(times), last, do.get(name, ""), fires)


def _ask(stack: str, path: str, query: Mapping[str, Any]) -> Any:
    """Return the data of an answer of Prometheus; of an empty one while it does not answer."""
    url = f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/{path}?{urlencode(query)}"
    said = fab(stack, "ssh", "--host", _gateway(stack), "--command", f"curl -s -m 20 {shlex.quote(url)}")
    return json.loads(said)["data"] if said.strip() else {"result": [], "groups": []}


def _gateway(stack: str) -> str:
    """Return the name of the gateway's machine."""
    return str(outputs_of(stack)["gateway_host"])


def table(alerts: Sequence[Fired]) -> list[str]:
    """Return the lines of the screen."""
    cells = [COLUMNS, *(alert.cells() for alert in alerts)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def page(stack: str, alerts: Sequence[Fired]) -> str:
    """Return the page."""
    rows = "\n".join(f"<tr>{_cells(alert.cells())}</tr>" for alert in alerts)
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    return PAGE.format(stack=html.escape(stack), head=head, rows=rows, made=_clock(time.time()))


def _cells(texts: Sequence[str]) -> str:
    """Return the cells of a row. Each has the name of its column, which a narrow screen shows."""
    pairs = zip(COLUMNS, texts, strict=True)
    return "".join(f'<td data-column="{column}">{html.escape(text)}</td>' for column, text in pairs)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
