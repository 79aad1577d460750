"""The lists of units that `status` and `logs` use."""

import pytest

from provisioning.roles.host import layout

WITHOUT_STATUS = {
    layout.DEVICES_UNIT: "ends before the engine starts",
    layout.RESTART_UNIT: "runs only to end an engine that hangs",
    layout.RECORDS_UNIT: "runs only to send the records of a machine that ends; llm-spot-notice says what came of it",
    layout.SPOT_STOP_UNIT: "runs only to stop the engine of a machine that ends",
}
"""Units that `status` does not show, and why."""


@pytest.mark.parametrize("engine", layout.ENGINE_UNIT)
def test_status_shows_every_unit_of_the_layout(engine: str) -> None:
    named = {value for name, value in vars(layout).items() if name.endswith("_UNIT") and isinstance(value, str)}
    assert {*named, layout.ENGINE_UNIT[engine]} == {
        *layout.units_with_status(engine, monitoring=True, alerts=True, grafana=True),
        *WITHOUT_STATUS,
    }


@pytest.mark.parametrize("engine", layout.ENGINE_UNIT)
def test_status_shows_each_unit_that_has_logs(engine: str) -> None:
    assert {*layout.units_with_logs(engine).values()} <= {*layout.units_with_status(engine)}
