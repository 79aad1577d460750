"""Whether a GPU of this host computes, as nvidia-smi says. Asked only in doubt: an answer takes a tenth of a second.

If a GPU is lost, nvidia-smi may hang in the driver, where no signal ends it. Nobody waits for it then.
"""

import shutil
import subprocess
import threading

ASK_S = 2.0
QUESTION = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class Gpus:
    """The GPUs of this host."""

    def __init__(self) -> None:
        self._asking: threading.Thread | None = None
        self._said = ""

    def busy(self) -> bool | None:
        """Return whether any GPU is busy; None if nvidia-smi is missing or does not answer in time."""
        if self._asking is None or not self._asking.is_alive():
            self._said = ""
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()
        self._asking.join(ASK_S)
        numbers = [line.strip() for line in self._said.splitlines()]
        if self._asking.is_alive() or not numbers:
            return None
        return any(number.isdigit() and int(number) > 0 for number in numbers)

    def _ask(self) -> None:
        program = shutil.which("nvidia-smi")
        if program is None:
            return
        try:
            self._said = subprocess.run([program, *QUESTION], stdout=subprocess.PIPE, text=True, check=False).stdout
        except OSError:
            return
