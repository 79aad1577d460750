"""Write the dashboards as Grafana's JSON, one file each, and say how to load them.

python -m provisioning.dashboards.write
"""

import json
from pathlib import Path
from typing import Any

from core.console import next_command, say
from core.files import write_atomically
from core.paths import CHECKOUT
from provisioning.dashboards.panels import DASHBOARDS, Dashboard, Panel

FOLDER = CHECKOUT / "provisioning" / "dashboards" / "grafana"

COLUMNS, HEIGHT = 24, 8
SCHEMA = 36
"""Version of Grafana's format; later Grafanas convert it."""

DATASOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard in Grafana's format. It asks for the Prometheus to use."""
    panels: list[dict[str, Any]] = []
    x, y = 0, 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        panels.append(_panel_json(panel, number, x, y))
        x += panel.width
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["llm-deploy"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": query.expr, "legendFormat": query.legend, "datasource": DATASOURCE}
        for index, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def files() -> dict[Path, str]:
    """Return the text of each file."""
    return {
        FOLDER / f"{dashboard.uid}.json": json.dumps(dashboard_json(dashboard), indent=2) + "\n"
        for dashboard in DASHBOARDS
    }


def main() -> None:
    """Write all files."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, text)
        say(f"✓ {path.relative_to(CHECKOUT)}")
    say("load them in Grafana: Dashboards, New, Import, one file after the other, and choose your Prometheus")
    say("your Grafana reaches the stack's Prometheus at http://127.0.0.1:9090 while this runs:")
    next_command('make ssh STACK=NAME ARGS="--forward 9090"')


if __name__ == "__main__":
    main()
