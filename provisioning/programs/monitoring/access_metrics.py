"""Feed the journal of some units to mtail, which turns lines into metrics. Ends when either of the two ends.

    access_metrics.py PROGRAM PORT UNIT…

systemd then starts both again: mtail alone would wait for ever on a pipe whose writer is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys


def journal_command(units: list[str]) -> list[str]:
    """Return the command that prints new lines of the journal of `units`.

    `--follow` alone means this boot. In a container, a unit that protects the kernel's settings sees the boot id of the
    machine below it, so journalctl would print nothing. With `--merge` it compares no boot id.
    """
    chosen = [word for unit in units for word in ("--unit", unit)]
    return ["journalctl", "--quiet", "--follow", "--merge", "--since=now", "--output=cat", *chosen]


def mtail_command(program: str, port: str) -> list[str]:
    """Return the command that reads lines from standard input and serves metrics on loopback."""
    options = ("--logs", "/dev/stdin", "--address", "127.0.0.1", "--port", port, "--emit_prog_label=false")
    return ["mtail", "--logtostderr", "--stderrthreshold", "ERROR", "--progs", program, *options]


def run(lines: list[str], reader: list[str]) -> int:
    """Run both commands, joined by a pipe, until one ends; return 1."""
    writer = subprocess.Popen(lines, stdout=subprocess.PIPE)
    mtail = subprocess.Popen(reader, stdin=writer.stdout)
    assert writer.stdout is not None  # noqa: S101
    writer.stdout.close()
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    for name, process in ((lines[0], writer), (reader[0], mtail)):
        if process.poll() is None:
            process.terminate()
        else:
            print(f"{name} ended", file=sys.stderr, flush=True)
        process.wait()
    return 1


if __name__ == "__main__":
    sys.exit(run(journal_command(sys.argv[3:]), mtail_command(sys.argv[1], sys.argv[2])))
