"""`python3 -m services.engine_watch SETTINGS`: watch until systemd ends it."""

import sys

from services.engine_watch.watch import main

sys.exit(main(*sys.argv[1:]))
