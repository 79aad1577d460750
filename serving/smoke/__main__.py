"""`python -m serving.smoke`: the smoke tests of one endpoint."""

import sys

from serving.smoke.run import main

if __name__ == "__main__":
    sys.exit(main())
