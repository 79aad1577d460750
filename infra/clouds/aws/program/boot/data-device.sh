#!/bin/sh
# data-device: print the device of the data volume that the tag names; a status above 0 until it is attached.
set -eu
volume=$(llm-instance-tag llm-deploy:data-volume)
for device in "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol${volume#vol-}" /dev/xvdf; do # xvdf: types without NVMe
	if [ -b "$device" ]; then
		echo "$device"
		exit 0
	fi
done
exit 1
