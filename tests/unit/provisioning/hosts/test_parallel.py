"""Work on several hosts: bounded, and one host's failure hides no other's result."""

import threading

import pytest

from core.errors import DeployError, HostError
from infra.contract.outputs import HostRecord
from provisioning.hosts.parallel import Failures, on_each, raise_failures
from tests.slowness import patient
from tests.unit.provisioning.records import host

HOSTS = [host(f"h{number}") for number in range(6)]


def test_each_host_gets_its_own_result() -> None:
    def work(host: HostRecord) -> str:
        if host.name == "h2":
            raise HostError("broken", where=host.name)
        return host.name.upper()

    results = {host.name: result for host, result in on_each(HOSTS, work, at_once=2)}
    assert isinstance(results.pop("h2"), HostError)
    assert results == {name: name.upper() for name in ("h0", "h1", "h3", "h4", "h5")}


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_at_most_at_once_run_in_parallel(at_once: int) -> None:
    running, most, counting = 0, 0, threading.Lock()
    together = threading.Barrier(min(at_once, len(HOSTS)))

    def work(_: HostRecord) -> None:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        together.wait(timeout=patient(10))
        with counting:
            running -= 1

    assert len(list(on_each(HOSTS, work, at_once=at_once))) == len(HOSTS)
    assert most == min(at_once, len(HOSTS))


def test_a_bug_comes_after_the_results_of_the_others() -> None:
    def work(host: HostRecord) -> None:
        if host.name == "h0":
            raise ZeroDivisionError

    seen: list[str] = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(each.name for each, _ in on_each(HOSTS, work, at_once=1))
    assert seen == ["h1", "h2", "h3", "h4", "h5"]


@pytest.mark.parametrize(("count", "reported"), [(1, []), (3, ["h0"])], ids=["the only host", "one of three"])
def test_error_is_reported_as_it_comes_unless_the_command_raises_it(count: int, reported: list[str]) -> None:
    def work(host: HostRecord) -> str:
        if host.name == "h0":
            raise HostError("broken", where=host.name)
        return "done"

    said: list[str] = []
    failures = Failures(HOSTS[:count], lambda name, _: said.append(name))
    assert [host.name for host, _ in failures.sift(on_each(HOSTS[:count], work, at_once=1))] == ["h1", "h2"][
        : count - 1
    ]
    assert said == reported
    with pytest.raises(HostError, match=r"h0: broken|1 of 3 hosts failed: h0; mend it"):
        failures.raise_any(hint="mend it")


def test_the_only_hosts_error_is_raised_itself() -> None:
    error = DeployError("no disk")
    with pytest.raises(DeployError) as caught:
        raise_failures({"a": error}, 1, hint="")
    assert caught.value is error


@pytest.mark.parametrize(("failed", "hosts"), [({"b": HostError("x")}, 3), ({"b": None}, 3)])
def test_failures_of_several_hosts_are_counted_and_named(failed: dict[str, DeployError | None], hosts: int) -> None:
    with pytest.raises(HostError, match="1 of 3 hosts failed: b; mend it"):
        raise_failures(failed, hosts, hint="mend it")


def test_nothing_is_raised_when_none_failed() -> None:
    raise_failures({}, 3, hint="")
