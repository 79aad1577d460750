"""The unit that sends a spot machine's last records to the bucket of its stack when services/spot_notice asks for it.

It runs as that service's user, reads the journal, and may add objects to one folder of the bucket. Drain and stop of
the engine do not wait for it.
"""

import json

from infra.contract.outputs import HostRecord, NoticeFolder, StackOutputs
from provisioning.converge.resources import File, Resource, Unit
from provisioning.programs import program
from provisioning.roles.engine.adapters import WATCHED_ADAPTERS
from provisioning.roles.engine.ollama import PLAN
from provisioning.roles.engine.store import fetch_program
from provisioning.roles.host.layout import (
    CONFIG_DIR,
    GATEWAY_UNIT,
    LIB_DIR,
    NOTICE_DIR,
    RECORDS_PATH_UNIT,
    RECORDS_UNIT,
    SPOT_USER,
    units_with_logs,
)
from provisioning.roles.services.on_request import started_by
from provisioning.templates.render import render

PROGRAM = f"{LIB_DIR}/send-records"
SETTINGS = f"{CONFIG_DIR}/notice-records.json"
REQUEST = f"{NOTICE_DIR}/send"
DESCRIPTION = "Send the last records of this machine to the bucket of its stack"


def notice_records(host: HostRecord, outputs: StackOutputs) -> list[Resource]:
    """Return the resources on a spot machine, in working order; without a folder, what removes the units."""
    if host.notice_folder is None:
        return [
            Unit(name=RECORDS_PATH_UNIT, enabled=False, running=False),
            *(File(path=f"/etc/systemd/system/{name}", content=None) for name in (RECORDS_PATH_UNIT, RECORDS_UNIT)),
        ]
    sender = File(path=PROGRAM, content=program("host/send_records"), mode=0o755)
    settings = File(path=SETTINGS, content=_settings(host, host.notice_folder, outputs))
    service = File(
        path=f"/etc/systemd/system/{RECORDS_UNIT}",
        content=render(
            "notice-records.service.j2",
            description=DESCRIPTION,
            request=REQUEST,
            user=SPOT_USER,
            program=PROGRAM,
            settings=SETTINGS,
            region=host.notice_folder.region,
        ),
        after=(f"user:{SPOT_USER}",),
    )
    needs = (sender.id, settings.id)
    return [
        *fetch_program(),
        sender,
        settings,
        *started_by(RECORDS_PATH_UNIT, service, DESCRIPTION, REQUEST, needs),
    ]


def _settings(host: HostRecord, folder: NoticeFolder, outputs: StackOutputs) -> str:
    served = {"served-adapters.json": f"{host.data_dir}/adapters/served.json", "adapters.json": WATCHED_ADAPTERS}
    units = units_with_logs(outputs.serving_of(host).engine).values()
    values = {
        "folder": f"{folder.url}{host.name}/",
        "notice": f"{NOTICE_DIR}/notice.json",
        "result": f"{NOTICE_DIR}/sent.json",
        "files": served if outputs.serving_of(host).engine == "vllm" else {"models.json": PLAN},
        "journals": {
            "access.log": [GATEWAY_UNIT],
            "journal.log": [each for each in units if each != GATEWAY_UNIT],
        },
    }
    return json.dumps(values, indent=1) + "\n"
