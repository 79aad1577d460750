#!/usr/bin/env bash
# Installs what the Makefile needs on a fresh machine: Python, uv, the environment in .venv. Every download is checked.
# Without an argument: what the commands need. `tests`, `checks`: what those need in addition. `aws`, `gcp`: the
# SDKs of that cloud, which infra/automation/sdk.py asks for when they are first needed. `clients`: the SDKs of
# Anthropic and OpenAI, for `make ask`.
set -euo pipefail
cd "$(dirname "$0")/.."

purpose=${1:-commands}
stamp=.venv/.ready
[[ $purpose == commands ]] || stamp=.venv/.ready-$purpose

python_from=3.11
uv_from=0.9
cache=${XDG_CACHE_HOME:-$HOME/.cache}/llm-deploy
has_lists= # of packages, fetched by this run

say() { printf '%s\n' "$*" >&2; }

fail() { # what is missing, what to do
  say "error: $1; $2"
  exit 2
}

is_done() {
  local each stamps=("$stamp")
  [[ $purpose != aws && $purpose != gcp ]] || return 1 # the caller has already seen that the SDK is missing
  [[ $purpose != clients ]] || stamps+=(.venv/.ready-tests .venv/.ready-checks) # they install every extra
  [[ -x .venv/bin/python ]] || return 1
  for each in "${stamps[@]}"; do
    [[ -e $each && ! pyproject.toml -nt $each && ! uv.lock -nt $each && ! tools/bootstrap.sh -nt $each ]] && return
  done
  return 1
}

# Takes program=package pairs and installs the packages of programs that are not on PATH; a user who is not root gets an
# error that names the packages.
need_programs() {
  local pair missing=()
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  ((${#missing[@]})) && need_packages "${missing[@]}"
  return 0
}

need_packages() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "this machine lacks ${*} (names of Debian packages)" "install them: sudo apt-get install ${*}"
  fi
  say "→ apt-get install ${*}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=300 update >&2
  apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@" >&2
}

# Takes program=package pairs of packages whose daemons would start if they were installed. Unpacks those packages into
# the cache, which changes nothing else on this machine, and links the programs into .venv/bin.
unpack_programs() {
  local pair program package
  for pair in "$@"; do
    program=${pair%%=*} package=${pair#*=}
    command -v "$program" >/dev/null && continue
    [[ -x $cache/debian/$package/usr/bin/$program ]] || unpack_package "$package"
    ln -sf "$cache/debian/$package/usr/bin/$program" ".venv/bin/$program"
  done
}

unpack_package() {
  local making=$cache/debian/$1.making
  say "→ unpack Debian's package $1 into $cache/debian"
  rm -rf "$making" "$cache/debian/$1"
  mkdir -p "$making"
  if ! download_package "$1" "$making" || ! dpkg-deb --extract "$making"/*.deb "$making"; then
    fail "Debian's package $1 could not be fetched" "see the lines above; or install it: sudo apt-get install $1"
  fi
  mv "$making" "$cache/debian/$1"
}

# Downloads a package; apt checks its signature. Only root may fetch the lists of packages, which most machines have.
download_package() {
  command -v apt-get >/dev/null || return 1
  if [[ $(id -u) == 0 && -z $has_lists ]]; then
    apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 || return 1
    has_lists=yes
  fi
  (cd "$2" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2)
}

# Prints the first Python that is new enough.
find_python() {
  local name
  for name in .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c "import sys; sys.exit(sys.version_info < (${python_from/./, }))" 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

# Prints a uv that is new enough: the one on PATH, else the pinned one, installed with its hash checked.
find_uv() {
  local python=$1 version found folder
  if version=$(uv --version 2>/dev/null); then
    version=${version#uv }
    version=${version%% *}
    if [[ $(printf '%s\n' "$uv_from" "$version" | sort --version-sort | head -n 1) == "$uv_from" ]]; then
      command -v uv
      return
    fi
  fi
  found=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' tools/uv-requirements.txt)
  folder=$cache/uv-$found
  if [[ ! -x $folder/bin/uv ]]; then
    say "→ install uv $found into $folder"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      need_packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    rm -rf "$folder.making"
    "$python" -m venv "$folder.making"
    "$folder.making/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      --only-binary :all: --requirement tools/uv-requirements.txt >&2
    rm -rf "$folder"
    mv "$folder.making" "$folder"
  fi
  printf '%s\n' "$folder/bin/uv"
}

sync() {
  local python=$1 uv=$2 extra arguments=(--frozen --quiet)
  local what="the environment of this checkout (.venv; some 100 MB the first time)"
  case $purpose in
    tests | checks) arguments+=(--all-extras --group applications) ;;
    *)
      arguments+=(--inexact) # keeps the packages that `tests` installed
      for extra in aws clients gcp; do # updates an installed SDK, too
        if [[ $purpose == "$extra" || -e .venv/.ready-$extra || -e .venv/.ready-tests || -e .venv/.ready-checks ]]; then
          arguments+=(--extra "$extra")
        fi
      done
      ;;
  esac
  [[ $purpose != aws && $purpose != gcp ]] || what="the SDKs of cloud $purpose (into .venv; some 200 MB, once)"
  [[ $purpose != clients ]] || what="the SDKs of Anthropic and OpenAI (into .venv; some 40 MB, once)"
  say "→ install $what"
  UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv "$uv" sync "${arguments[@]}" --python "$python" ||
    fail "uv could not install the packages in uv.lock" "see the lines above; a package registry must be reachable"
}

is_done && exit 0
start=$SECONDS
mkdir -p "$cache"
exec 9>"$cache/bootstrap.lock"
flock 9 # of two `make` at once, the second waits, and then has nothing to do
is_done && exit 0

case $purpose in
  commands | aws | gcp | clients) ;;
  tests)
    need_programs git=git ssh-keygen=openssh-client ss=iproute2 haproxy=haproxy gpg=gpg gpg-agent=gpg-agent
    ;;
  checks) need_programs git=git shellcheck=shellcheck ;;
  *) fail "tools/bootstrap.sh: unknown argument $purpose" "write tests, checks, aws, gcp, clients or nothing" ;;
esac
if ! python=$(find_python); then
  need_packages python3
  python=$(find_python) || fail "this machine has no Python $python_from or newer" "install one"
fi
uv=$(find_uv "$python")
sync "$python" "$uv"
if [[ $purpose == tests ]]; then
  unpack_programs prometheus=prometheus promtool=prometheus amtool=prometheus-alertmanager mtail=mtail \
    prometheus-alertmanager=prometheus-alertmanager prometheus-node-exporter=prometheus-node-exporter
fi
touch "$stamp"
say "✓ ready after $((SECONDS - start)) s"
