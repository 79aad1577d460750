"""Records: written whole, found again, removed last; locks that two cannot hold."""

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import HostError
from infra.clouds.local.parts import record
from infra.clouds.local.parts.record import MachineRecord
from tests.slowness import patient


def a_record(name: str = "local-1", owner: str = "/checkout/.state") -> MachineRecord:
    return MachineRecord(
        id=record.machine_id(owner, "local", name),
        owner=owner,
        stack="local",
        name=name,
        memory_mib=1024,
        cpus=0.5,
        public_keys=("ssh-ed25519 AAAA",),
    )


def test_a_record_is_read_as_it_was_written(store: Path) -> None:
    machine = a_record().changed(address_index=7, phase="ready")
    assert record.load(machine.id) == machine
    assert (store / machine.id / "record.json").stat().st_mode & 0o777 == 0o600
    assert store.stat().st_mode & 0o777 == 0o700


def test_two_checkouts_get_different_ids_for_the_same_name() -> None:
    assert a_record(owner="/one").id != a_record(owner="/two").id
    assert a_record().id == a_record().id


def test_an_interface_named_after_an_id_fits_into_15_characters() -> None:
    assert len("llm-" + a_record().id) <= 15


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": "00000000"}'])
def test_a_broken_record_is_reported_and_left_out_of_lists(store: Path, content: str) -> None:
    whole = a_record().changed(address_index=1)
    (store / "00000000").mkdir()
    (store / "00000000" / "record.json").write_text(content)
    with pytest.raises(HostError, match="is not a record of a machine"):
        record.load("00000000")
    assert record.all_readable() == [whole]
    assert record.all_ids() == sorted(["00000000", whole.id])


def test_a_machine_is_found_by_who_made_it() -> None:
    mine, _other = a_record(owner="/one").changed(), a_record(owner="/two").changed()
    assert record.find("/one", "local", "local-1") == mine
    assert record.find("/one", "local", "local-2") is None


def test_removal_takes_the_record_last(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = a_record().changed()
    (machine.root / "etc").mkdir(parents=True)

    def refuse(path: object) -> None:
        raise OSError(f"{path} is busy")

    monkeypatch.setattr(record, "remove_tree", refuse)
    with pytest.raises(OSError, match="is busy"):
        record.remove(machine.id)
    assert record.load(machine.id) == machine
    monkeypatch.undo()
    monkeypatch.setattr(record, "STORE", store)
    record.remove(machine.id)
    record.remove(machine.id)
    assert record.all_ids() == []


def test_nothing_below_a_mount_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = a_record().changed()
    mounted = machine.root / "var/cache"
    mounted.mkdir(parents=True)
    (mounted / "wheel").write_text("the host's")
    monkeypatch.setattr(record, "mount_points", lambda: [mounted])
    with pytest.raises(HostError, match="still mounted"):
        record.remove(machine.id)
    assert (mounted / "wheel").exists()


def test_only_one_holds_a_lock_and_no_file_is_left(store: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with record.locked("host"):
            inside.append(number)
            assert inside == [number]
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert not store.parent.exists()


def test_a_lock_is_free_when_its_holder_is_killed(store: Path) -> None:
    context = multiprocessing.get_context("fork")
    reached = context.Event()

    def hold() -> None:
        with record.locked("host"):
            reached.set()
            context.Event().wait()

    holder = context.Process(target=hold)
    holder.start()
    assert reached.wait(patient(10))
    holder.kill()
    holder.join()
    assert (store / ".host.lock").exists()
    with record.locked("host"):
        pass
    assert not store.exists()


def test_the_note_about_the_host_is_kept_until_it_is_removed() -> None:
    assert record.read_host_note() == {}
    record.write_host_note({"ip_forward": "0"})
    assert record.read_host_note() == {"ip_forward": "0"}
    record.remove_host_note()
    record.remove_host_note()
    assert record.read_host_note() == {}


def test_a_record_is_plain_json_without_a_private_key(store: Path) -> None:
    machine = a_record().changed()
    values = json.loads((store / machine.id / "record.json").read_text())
    assert values["public_keys"] == ["ssh-ed25519 AAAA"]
    assert not [key for key in values if "private" in key]
