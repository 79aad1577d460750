#!/bin/sh
# Runs one machine until it powers off, and starts it again when it reboots (nspawn then ends with status 133).
# usage: supervise.sh PID_FILE [--group1 FOLDER]… [--group2 FOLDER] -- COMMAND…
# group1: a control group (version 1) that holds everything; group2: one (version 2) below which nspawn makes its own.
set -eu
pid_file=$1
shift
group2=
while [ "$1" != -- ]; do
  case $1 in
    --group1) echo $$ >"$2/cgroup.procs" ;;
    --group2) group2=$2 ;;
  esac
  shift 2
done
shift
if [ -n "$group2" ]; then
  mkdir -p "$group2/watch"
  echo $$ >"$group2/watch/cgroup.procs"
fi

# pid, start time and boot: together they name this process and no later one with its pid.
# shellcheck disable=SC2046  # the fields are wanted as words
start=$(set -- $(cat "/proc/$$/stat"); echo "${22}")
echo "$$ $start $(cat /proc/sys/kernel/random/boot_id)" >"$pid_file.new"
mv "$pid_file.new" "$pid_file"

while :; do
  status=0
  (
    if [ -n "$group2" ]; then
      # A group that an earlier boot of the machine handed to its systemd takes no process; a fresh one does.
      [ ! -d "$group2/machine" ] || find "$group2/machine" -depth -type d -exec rmdir {} +
      mkdir "$group2/machine"
      sh -c 'echo $PPID' >"$group2/machine/cgroup.procs"
    fi
    exec "$@"
  ) || status=$?
  [ "$status" = 133 ] || exit "$status"
done
