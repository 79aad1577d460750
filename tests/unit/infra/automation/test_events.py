"""Events of the Pulumi engine and the lines that are printed for them."""

import json
from typing import Any

import pytest

from infra.automation.events import Report

MACHINE = "pulumi-python:dynamic/local:Container"
STACK = "pulumi:pulumi:Stack"


def step(kind: str, op: str, *, what: str = MACHINE, custom: bool = True, **sides: Any) -> str:
    """Return an event of the engine on resource `one`; `old` and `new` are its inputs before and after."""
    metadata: dict[str, Any] = {"op": op, "urn": f"urn:pulumi:s::p::{what}::one", "type": what}
    for side in ("old", "new"):
        inputs = sides.get(side, {})
        metadata[side] = (
            None if inputs is None else {"custom": custom, "inputs": inputs, "outputs": sides.get("outputs")}
        )
    return json.dumps({kind: {"metadata": metadata}})


def said(severity: str, message: str) -> str:
    """Return a diagnostic event."""
    return json.dumps({"diagnosticEvent": {"severity": severity, "message": message, "prefix": f"{severity}: "}})


CHANGING = step("resourcePreEvent", "update", old={"a": 1, "b": 2}, new={"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (step("resourcePreEvent", "create"), ["  + creating one (Container)"]),
        (step("resOutputsEvent", "create"), ["  + created one"]),
        (CHANGING, ["  ~ changing one (Container): b"]),
        (step("resourcePreEvent", "delete", new=None), ["  - removing one (Container)"]),
        (step("resourcePreEvent", "same"), []),
        (step("resourcePreEvent", "replace"), []),
        (step("resourcePreEvent", "create", custom=False), []),
        (step("resourcePreEvent", "create", what="pulumi:providers:aws"), []),
        (step("resourcePreEvent", "create", what=STACK, custom=False), []),
        (said("info#err", "info: booting\n"), ["  booting"]),
        (said("warning", "old SDK"), ["  warning: old SDK"]),
        (said("debug", "registering"), []),
        (said("error", "boom"), []),
        ("Traceback: this is not JSON", []),
    ],
    ids=[
        "creating", "created", "changing", "removing", "same", "half of a replacement", "a component", "a provider",
        "the stack", "a provider's message", "a warning", "debug", "an error, which is printed at the end", "no event",
    ],
)  # fmt: skip
def test_only_changes_and_messages_are_printed(line: str, words: list[str]) -> None:
    assert Report().read(line) == words


def test_the_resources_of_errors_are_noted() -> None:
    """The error of the whole stack follows that of the resource."""
    report = Report()
    for urn in ("urn:pulumi:s::p::aws:ec2/instance:Instance::s-gateway", f"urn:pulumi:s::p::{STACK}::p-s", ""):
        report.read(json.dumps({"diagnosticEvent": {"severity": "error", "message": "no stock", "urn": urn}}))

    assert report.failed == ["s-gateway"]


def test_a_preview_prints_what_would_change() -> None:
    report = Report(preview=True)

    assert report.read(step("resourcePreEvent", "create")) == ["  + would create one (Container)"]
    assert report.read(step("resOutputsEvent", "create")) == []
    assert report.planned == {"create": ["one"]}
    assert report.done == {}


def test_values_are_never_printed() -> None:
    report = Report()

    words = report.read(step("resourcePreEvent", "update", old={"password": "old"}, new={"password": "hunter2"}))

    assert words == ["  ~ changing one (Container): password"]


@pytest.mark.parametrize("op", ["delete", "refresh"], ids=["refresh", "up --refresh"])
def test_a_resource_that_a_refresh_does_not_find_is_reported_as_missing(op: str) -> None:
    report = Report()
    report.read(step("resourcePreEvent", "refresh"))

    assert report.read(step("resOutputsEvent", op, new=None)) == ["  ! one is gone"]
    assert report.missing == ["one"]
    assert report.done == {}


@pytest.mark.parametrize(
    ("preview", "kept", "shown"),
    [
        (False, {"one": "is off"}, ["! one is off", "+ starting one (Container)", "+ started one"]),
        (True, {"one": "is off"}, ["! one is off", "+ would start one (Container)"]),
        (False, {"two": "is off"}, ["! one is gone", "+ creating one (Container)", "+ created one"]),
    ],
)
def test_a_machine_that_is_off_is_started_not_created(preview: bool, kept: dict[str, str], shown: list[str]) -> None:
    """`make up` once said of a machine that somebody had switched off: is gone, creating."""
    report = Report(preview=preview, kept=kept)

    events = (
        step("resourcePreEvent", "refresh"),
        step("resOutputsEvent", "refresh", new=None),
        step("resourcePreEvent", "create"),
        step("resOutputsEvent", "create"),
    )

    lines = [line for each in events for line in report.read(each)]

    assert lines == [f"  {each}" for each in shown]
    assert report.summary() == ("nothing to change on the machines" if preview else f"1 {shown[-1].split()[1]}")


def test_a_machine_that_an_earlier_refresh_did_not_find_is_started() -> None:
    """`make refresh` removes it from the state, and says that `up` starts it."""
    report = Report(kept={"one": "is off"})

    assert report.read(step("resourcePreEvent", "create")) == ["  + starting one (Container)"]


def test_a_refresh_prints_only_the_resources_that_changed() -> None:
    report = Report()
    report.read(step("resourcePreEvent", "refresh"))

    assert report.read(step("resOutputsEvent", "refresh")) == []
    assert report.read(step("resOutputsEvent", "update")) == ["  ~ changed one"]


def test_the_outputs_come_from_the_program_and_not_from_the_refresh() -> None:
    report = Report()
    report.read(step("resourcePreEvent", "refresh", what=STACK, custom=False))
    report.read(step("resOutputsEvent", "refresh", what=STACK, custom=False, outputs={"hosts": ["old"]}))
    assert report.outputs == {}

    report.read(step("resOutputsEvent", "same", what=STACK, custom=False, outputs={"hosts": ["new"]}))

    assert report.outputs == {"hosts": ["new"]}


def test_an_error_is_kept_without_the_prefix_of_the_engine() -> None:
    report = Report()
    for text in ("Exception calling application: the disk is full; make room\n", "update failed\n"):
        report.read(said("error", text))

    assert report.errors == ["the disk is full; make room"]


def test_the_summary_counts_the_operations() -> None:
    report = Report()
    assert report.summary() == "nothing to change on the machines"

    for line in (
        step("resOutputsEvent", "create"),
        step("resOutputsEvent", "create"),
        step("resOutputsEvent", "delete"),
    ):
        report.read(line)

    assert report.summary() == "2 created, 1 removed"
