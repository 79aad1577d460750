"""Sends requests to providers: `python -m services.overflow SETTINGS`."""

import sys

from services.overflow.service import main

main(*sys.argv[1:])
