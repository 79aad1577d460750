"""States that take a while on AWS: a new instance is not found at first, a terminated one is shutting down."""

from typing import Any

from tests.doubles.aws.order import Refusal
from tests.doubles.aws.settings import Settings
from tests.doubles.provider.control import matches

NO_CAPACITY = "Server.InsufficientInstanceCapacity"
SHUTTING_DOWN, TERMINATED = (32, "shutting-down"), (48, "terminated")


class States:
    """Unfinished changes of state. They take a number of reads instead of time, so that tests need not sleep."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._ending: dict[tuple[str, str], int] = {}
        self._unseen: dict[str, int] = {}

    def clear(self) -> None:
        """Forget the unfinished changes."""
        self._ending.clear()
        self._unseen.clear()

    def before(self, region: str, action: str, values: dict[str, str]) -> None:
        """Advance the states by one read. Raises Refusal for an instance that cannot be found yet."""
        if action != "DescribeInstances":
            return
        asked = {value for key, value in values.items() if key.startswith("InstanceId.")}
        for identity in asked & self._unseen.keys():
            self._unseen[identity] -= 1
            if self._unseen[identity] < 0:
                del self._unseen[identity]
            else:
                message = f"The instance ID '{identity}' does not exist"
                raise Refusal(400, "InvalidInstanceID.NotFound", message)
        for place in [each for each in self._ending if each[0] == region]:
            self._ending[place] -= 1
            if self._ending[place] < 0:
                del self._ending[place]
                self._end(*place)

    def after(self, region: str, action: str, values: dict[str, str], settings: Settings) -> None:
        """Note the changes that a call has begun."""
        if action == "TerminateInstances":
            for key, identity in values.items():
                if key.startswith("InstanceId.") and self._is_known(region, identity):
                    self._ending[region, identity] = settings.shutting_down_polls
                    self._set(region, identity, SHUTTING_DOWN)
        elif action == "RunInstances":
            newest = max(self._instances(region), key=lambda each: each.launch_time, default=None)
            if newest is not None:
                self._unseen[newest.id] = settings.unseen_polls
                # moto places every instance that brings its interface into zone a.
                newest._placement.zone = zone = newest.nics[0].subnet.availability_zone
                market = "spot" if values.get("InstanceMarketOptions.MarketType") == "spot" else "on_demand"
                if matches(settings.ends_at_start, str(zone), newest.instance_type, market):
                    newest.state_reason.code = NO_CAPACITY
                    newest.state_reason.message = f"{NO_CAPACITY}: Insufficient capacity to satisfy instance request"
                    newest.teardown_defaults()  # removes its root disk, too
                    self._end(region, newest.id)

    def _end(self, region: str, identity: str) -> None:
        """Detach the interfaces that outlive an instance, as AWS does and moto does not.

        The instance keeps its side of the tie: without an interface, moto cannot describe it.
        """
        self._set(region, identity, TERMINATED)
        for instance in self._instances(region):
            if instance.id == identity:
                for interface in instance.nics.values():
                    interface.instance = interface.attachment_id = interface.attach_time = None
                    interface.status = "available"

    def _set(self, region: str, identity: str, state: tuple[int, str]) -> None:
        for instance in self._instances(region):
            if instance.id == identity:
                instance._state.code, instance._state.name = state

    def _is_known(self, region: str, identity: str) -> bool:
        return any(each.id == identity for each in self._instances(region))

    def _instances(self, region: str) -> list[Any]:
        from moto.ec2.models import ec2_backends  # after moto's environment is set

        backend = ec2_backends[self._account][region]
        return [each for reservation in backend.all_reservations() for each in reservation.instances]
