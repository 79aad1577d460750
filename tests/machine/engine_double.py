"""The engine double as a service of a machine, with an engine's key: for tests that only need answers."""

from pathlib import Path

from provisioning.converge.resources import File, GeneratedSecret, Resource, Unit
from provisioning.roles.host.layout import ENGINE_ENV, ENGINE_ENV_TEMPLATE

PROGRAM = "/usr/local/lib/engine_double.py"
UNIT = "engine-double.service"


def engine_double(token_s: float = 0, rounds: int = 1, unit: str = UNIT) -> list[Resource]:
    """Return the resources of an engine double on port 8000.

    `token_s`: time that each token of a stream takes; `rounds`: how often it says its four tokens; `unit`:
    its name, e.g. that of the engine which a watcher looks for.
    """
    unit_text = f"""
[Service]
EnvironmentFile={ENGINE_ENV}
ExecStart=/usr/bin/python3 {PROGRAM} 8000 {token_s} {rounds}
[Install]
WantedBy=multi-user.target
"""
    source = (Path(__file__).parents[1] / "doubles/engine.py").read_text()
    key = GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)
    files = (File(path=PROGRAM, content=source), File(path=f"/etc/systemd/system/{unit}", content=unit_text))
    needed = (key.id, *(file.id for file in files))
    return [key, *files, Unit(name=unit, restart_on=needed, after=needed)]
