"""A command line whose mistakes are told as all others are: one line, exit status 2."""

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's parser without the usage before its errors: who ran `make` did not write that line.

    An option counts only when it is written in full: `--d` must never be taken for `--delete`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(2, f"error: {self.prog}: {message}; --help shows what may be written\n")
