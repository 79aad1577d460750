"""The engine double as a service of a machine, with an engine's key: for tests that only need answers."""

from pathlib import Path

from provisioning.converge.resources import File, GeneratedSecret, Resource, Unit
from provisioning.roles.host.layout import ENGINE_ENV, ENGINE_ENV_TEMPLATE

PROGRAM = "/usr/local/lib/engine_double.py"
UNIT = "engine-double.service"
UNIT_TEXT = f"""
[Service]
EnvironmentFile={ENGINE_ENV}
ExecStart=/usr/bin/python3 {PROGRAM} 8000 0 1
[Install]
WantedBy=multi-user.target
"""


def engine_double() -> list[Resource]:
    """Return the resources of an engine double on port 8000."""
    source = (Path(__file__).parents[1] / "doubles/engine.py").read_text()
    key = GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)
    files = (File(path=PROGRAM, content=source), File(path=f"/etc/systemd/system/{UNIT}", content=UNIT_TEXT))
    needed = (key.id, *(file.id for file in files))
    return [key, *files, Unit(name=UNIT, restart_on=needed, after=needed)]
