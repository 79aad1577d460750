"""What refuses a host's data folder that the engine's unit could not use, before anything is downloaded to it."""

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command
from provisioning.programs import program
from provisioning.roles.host.layout import SERVICE_USER


def data_dir_check(host: HostRecord, programs: str, *read: str) -> Command:
    """Return the check. `programs` is the folder in which the engine lies, `read` are others that its unit reads.

    The program travels in the command, not as a file: the first plan of a host refuses as well.
    """
    folders = (host.data_dir, *read, programs)
    words = ("python3", "-I", "-c", program("check_data_dir"), SERVICE_USER, programs, *folders)
    return Command(name="data-dir", argv=words, check=words)
