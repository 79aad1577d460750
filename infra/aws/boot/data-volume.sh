#!/bin/sh
# Mount the data volume at /var/lib/llm: the one that the tag names, formatted when it is blank, grown when it was made
# larger. It is attached some seconds after the first boot began.
set -eu
place=/var/lib/llm
volume=$(llm-instance-tag llm-deploy:data-volume)
device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol${volume#vol-}
waited=0
until [ -b "$device" ]; do
	if [ -b /dev/xvdf ]; then # machine types without NVMe, such as t2
		device=/dev/xvdf
		break
	fi
	if [ "$waited" -ge 600 ]; then
		echo "volume $volume was not attached within $waited s" >&2
		exit 1
	fi
	sleep 2
	waited=$((waited + 2))
done
if mountpoint -q "$place"; then
	exit 0
fi
mkdir -p "$place"
chattr +i "$place" # nobody fills the root disk while the volume is missing
status=0
blkid -p "$device" >/dev/null || status=$?
if [ "$status" -eq 2 ]; then # 2: nothing on it at all; any other failure is no reason to format
	mkfs.ext4 -q -L llm-data "$device"
fi
mount -o defaults,nodev,nosuid "$device" "$place"
resize2fs "$device"
