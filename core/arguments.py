"""An argument parser that reports a mistake like every other error: one line, exit status 2."""

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's parser without the usage text before an error: a user of `make` did not type that command line.

    Options must be written in full: `--d` must never mean `--delete`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        self.exit(2, f"error: {self.prog}: {message}; --help lists the options\n")
