#!/bin/sh
# Power this host off once its end of life has passed. Asked again and again, so that a longer or shorter
# life, which `up` writes where llm-instance-tag finds it, counts without a restart. Without an answer, the last one counts.
set -eu
known=/var/lib/llm-deploy/ends-at
mkdir -p "${known%/*}"
if ends_at=$(llm-instance-tag llm-deploy:ends-at); then
	printf '%s\n' "$ends_at" >"$known"
else
	ends_at=$(cat "$known")
fi
if [ "$(date -u +%s)" -ge "$(date -u -d "$ends_at" +%s)" ]; then
	echo "the end of life, $ends_at, has passed"
	systemctl poweroff
fi
