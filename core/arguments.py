"""An argument parser that reports a mistake like every other error: one line, exit status 2.

A program that a make target runs has the target as its name: `Parser(prog="make demo")`.
"""

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's parser without the usage text before an error: a user of `make` did not type that command line.

    Options must be written in full: `--d` must never mean `--delete`.
    """

    def __init__(self, *, prog: str, **options: Any) -> None:
        self._is_target = prog.startswith("make ")
        if self._is_target:
            options["usage"] = f'{prog} ARGS="…"'
        super().__init__(prog=prog, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        help_option = "ARGS=--help" if self._is_target else "--help"
        self.exit(2, f"error: {self.prog}: {message}; {help_option} lists the options\n")
