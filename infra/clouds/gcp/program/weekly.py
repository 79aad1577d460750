"""The instance schedule that starts and stops the hosts weekly: a resource policy of the region.

It expires at the end of life and starts no host after it. The account of the Compute Engine service needs a role for
it, which preflight checks. Deletes nothing: the instance's own settings do that (end_of_life.py).
"""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.config.models.lifetime import WeeklySchedule


@dataclass(frozen=True, kw_only=True)
class WeeklyArgs:
    """Arguments of the schedule."""

    physical_name: str
    region: str
    spec: WeeklySchedule
    ends_at: str
    """ISO 8601, UTC."""


def weekly(name: str, args: WeeklyArgs, opts: pulumi.ResourceOptions) -> gcp.compute.ResourcePolicy:
    """Return the schedule."""
    start, stop = crons(args.spec)
    return gcp.compute.ResourcePolicy(
        name,
        name=args.physical_name,
        region=args.region,
        instance_schedule_policy={
            "vm_start_schedule": {"schedule": start},
            "vm_stop_schedule": {"schedule": stop},
            "time_zone": args.spec.time_zone,
            "expiration_time": args.ends_at,
        },
        opts=opts,
    )


def crons(spec: WeeklySchedule) -> tuple[str, str]:
    """Return when hosts start and stop, as cron expressions."""
    days = ",".join(day.upper() for day in spec.days)
    return _cron(spec.start, days), _cron(spec.stop, days)


def _cron(time: str, days: str) -> str:
    hour, minute = (int(part) for part in time.split(":"))
    return f"{minute} {hour} * * {days}"
