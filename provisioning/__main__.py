"""`python -m provisioning TASK`: fab with our tasks; Ctrl-C prints one line from the start.

`fab -r provisioning TASK` does the same once fabric is loaded, which takes a third of a second.
"""

import sys
from pathlib import Path

import core  # noqa: F401  # from here on Ctrl-C prints one line, also while fabric is loaded


def main() -> None:
    """Run the tasks that the command line names."""
    from fabric.main import program

    folder = str(Path(__file__).parent)
    program.run(["fab", "-r", folder, *sys.argv[1:]])


if __name__ == "__main__":
    main()
