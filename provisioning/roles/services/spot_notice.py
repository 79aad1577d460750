"""The service that asks the cloud of a spot machine for its end: services/spot_notice, and the root unit that stops the
engine before it."""

import json

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import File, Resource, Unit, User
from provisioning.roles.host.layout import (
    CONFIG_DIR,
    ENGINE_UNIT,
    NOTICE_DIR,
    SPOT_STOP_PATH_UNIT,
    SPOT_STOP_UNIT,
    SPOT_UNIT,
    SPOT_USER,
)
from provisioning.roles.services.notice_records import notice_records
from provisioning.roles.services.on_request import on_request
from provisioning.roles.services.service import Service, service_files, unit_file

PACKAGE = "spot_notice"
SETTINGS = f"{CONFIG_DIR}/spot-notice.json"
METADATA_ADDRESS = "169.254.169.254"
LAST_ANSWERS_S = 6
"""From the engine's stop until its processes are killed; the machine itself ends a few seconds later."""


def spot_notice(host: HostRecord, outputs: StackOutputs) -> list[Resource]:
    """Return the resources of the service on a spot machine with an engine, in working order."""
    user = User(name=SPOT_USER)
    files = service_files(PACKAGE)
    values = {"cloud": host.cloud, "drain_on_rebalance": host.drain_on_rebalance, "gpu": host.gpu is not None}
    values["sends_records"] = host.notice_folder is not None
    settings = File(path=SETTINGS, content=json.dumps(values, indent=1) + "\n")
    service = Service(
        unit=SPOT_UNIT,
        description="Ask the cloud whether it takes this machine back",
        package=PACKAGE,
        user=user.name,
        arguments=(SETTINGS,),
        runtime_directory=NOTICE_DIR.removeprefix("/run/"),
        allowed_addresses=(METADATA_ADDRESS,),
    )
    unit = unit_file(service, after=(user.id,))
    needed = (*(each.id for each in files), settings.id, unit.id)
    engine_unit = ENGINE_UNIT[outputs.serving_of(host).engine]
    stop = on_request(
        SPOT_STOP_PATH_UNIT,
        SPOT_STOP_UNIT,
        "Stop the engine before the cloud takes the machine back",
        f"{NOTICE_DIR}/stop",
        [
            ("/bin/systemctl", "stop", "--no-block", engine_unit),
            ("/bin/sleep", str(LAST_ANSWERS_S)),
            ("-/bin/systemctl", "kill", "--signal=SIGKILL", engine_unit),
        ],
    )
    records = notice_records(host, outputs)
    return [user, *files, settings, unit, *stop, *records, Unit(name=SPOT_UNIT, restart_on=needed, after=needed)]
