"""The check that refuses a data folder which the engine's unit cannot use, before anything is downloaded."""

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command
from provisioning.programs import program
from provisioning.roles.host.layout import SERVICE_USER


def data_dir_check(host: HostRecord, programs: str, *read: str) -> Command:
    """Return the check. `programs` is the engine's folder; `read` are other folders that its unit reads.

    The command contains the program, so that even the first plan of a host refuses such a folder.
    """
    folders = (host.data_dir, *read, programs)
    words = ("python3", "-I", "-c", program("host/check_data_dir"), SERVICE_USER, programs, *folders)
    return Command(name="data-dir", argv=words, check=words)
