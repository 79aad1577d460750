"""Both parts of a run with a reboot in between are reported as one."""

from provisioning.apply.reboots import joined
from provisioning.converge.result import HostResult, Outcome

DRIVER = Outcome(id="command:nvidia-driver", status="changed", changes=("run install",), reboot="old one in use")
CONF = Outcome(id="file:/conf", status="changed", changes=("create",))
UNIT = Outcome(id="unit:vllm.service", status="skipped", error="depends on a reboot")


def test_run_without_a_second_reboot_is_complete() -> None:
    first = HostResult(host="a", ok=False, changed=(CONF, DRIVER), skipped=(UNIT,), seconds=90, round_trips=2)
    assert first.reboot is DRIVER
    second = HostResult(
        host="a",
        ok=True,
        changed=(Outcome(id=UNIT.id, status="changed"),),
        unchanged=(Outcome(id=CONF.id, status="ok"), Outcome(id=DRIVER.id, status="ok"), Outcome(id="x", status="ok")),
        seconds=10,
    )
    whole = joined(first, second)
    assert (whole.ok, whole.reboot, whole.seconds, whole.round_trips) == (True, None, 100, 3)
    assert [each.id for each in whole.changed] == [CONF.id, DRIVER.id, UNIT.id]
    assert [each.id for each in whole.unchanged] == ["x"]
    assert whole.skipped == ()


def test_failure_after_the_reboot_is_not_counted_as_changed() -> None:
    first = HostResult(host="a", ok=False, changed=(DRIVER,), skipped=(UNIT,))
    second = HostResult(host="a", ok=False, failed=(Outcome(id=DRIVER.id, status="failed", error="does not load"),))
    assert joined(first, second).changed == ()
