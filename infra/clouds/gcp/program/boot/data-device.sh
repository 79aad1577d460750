#!/bin/sh
# data-device: print the device of the data disk, by the name it is attached with; a status above 0 until it is there.
set -eu
device=/dev/disk/by-id/google-llm-data
[ -b "$device" ]
echo "$device"
