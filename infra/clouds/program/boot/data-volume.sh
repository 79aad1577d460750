#!/bin/sh
# Mount the data volume at /var/lib/llm: formatted when it is blank, grown when it was made larger. It may be attached
# some seconds after the first boot began; llm-data-device prints where it is once it is there.
set -eu
place=/var/lib/llm
waited=0
until device=$(llm-data-device); do
	if [ "$waited" -ge 600 ]; then
		echo "the data volume was not attached within $waited s" >&2
		exit 1
	fi
	sleep 2
	waited=$((waited + 2))
done
if ! mountpoint -q "$place"; then
	mkdir -p "$place"
	chattr +i "$place" # nobody fills the root disk while the volume is missing
	status=0
	blkid -p "$device" >/dev/null || status=$?
	if [ "$status" -eq 2 ]; then # 2: nothing on it at all; any other failure is no reason to format
		mkfs.ext4 -q -L llm-data "$device"
	fi
	mount -o defaults,nodev,nosuid "$device" "$place"
fi
resize2fs "$device"
