"""`python3 -m services.spot_notice SETTINGS`: watch until systemd ends it."""

import sys

from services.spot_notice.watch import main

sys.exit(main(*sys.argv[1:]))
