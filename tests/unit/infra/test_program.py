"""The Pulumi program as a process."""

import signal
import subprocess
import sys

from core.paths import CHECKOUT
from tests.slowness import patient

WAITING = """
import runpy, threading
import pulumi

def wait_forever():
    threading.Thread(target=threading.Event().wait).start()
    print("waiting", flush=True)
    threading.Event().wait()

pulumi.get_stack = wait_forever
runpy.run_module("infra", run_name="__main__")
"""
"""The program as the CLI finds it after a resource has failed: a thread waits for an answer that never comes."""


def test_the_program_ends_at_once_when_the_cli_interrupts_it() -> None:
    program = subprocess.Popen([sys.executable, "-c", WAITING], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        assert program.wait(patient(30)) == 130
    finally:
        program.kill()
        program.communicate()
