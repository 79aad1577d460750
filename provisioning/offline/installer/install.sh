#!/bin/sh
# Brings this host to what the bundle around this file holds; needs no network. See docs/offline.md.
#   install.sh --manifest SHA256 [--host NAME] [--secrets FILE] [--plan]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" != 0 ]; then
  echo "error: needs root; run sudo $0 $*" >&2
  exit 2
fi
if ! command -v python3 >/dev/null; then
  echo "error: this host has no python3; install it from $here/debs with dpkg --install" >&2
  exit 2
fi
exec python3 -I "$here/install.py" "$@"
