#!/usr/bin/env bash
# Runs all checks that need no machine and prints a line for each; the exit status is 1 if one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=0
run() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf '✓ %s\n' "$name"
  else
    printf '✗ %s\n%s\n' "$name" "$output"
    failed=1
  fi
}

mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
run "lint (ruff check)" .venv/bin/ruff check .
run "format (ruff format)" .venv/bin/ruff format --check .
run "types (mypy --strict)" .venv/bin/mypy
run "scripts (shellcheck)" shellcheck "${scripts[@]}"
run "words (tools/prose)" .venv/bin/python -m tools.prose
run "lockfile in step (uv lock --check)" .venv/bin/uv lock --check
exit "$failed"
